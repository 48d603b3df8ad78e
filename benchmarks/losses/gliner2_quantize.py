"""`quantize()` of gliner2's boundary model rounds the rotary frequencies that its head computes with in float32.

    pip install torch==2.13.0 transformers==5.24.0 gliner2==2.1.0

Builds the heads of a small model from config, prints the frequencies before and after, and how far the angle at
position 1000 is off. Exits with 0 if they were rounded, with 1 if not.
"""

import sys

from gliner2.configuration import ExtractorConfig
from gliner2.models.boundary.model import BoundaryExtractorModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")))
head = {"boundary_dim": 16, "pair_dim": 16, "enable_rotary_endpoints": True}
config = ExtractorConfig(architecture="boundary", boundary_head=head)
encoder = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
model = BoundaryExtractorModel(config, encoder_config=encoder, tokenizer=tokenizer, load_encoder=False)


def frequencies():
    return next(buffer for name, buffer in model.named_buffers() if name.endswith("rotary.inv_freq"))


before = frequencies().clone()
model.quantize("bf16")
after = frequencies()
off = ((after.float() - before) * 1000).abs().max().item()
print("before:", before.dtype, before.tolist()[:4])
print("after: ", after.dtype, after.tolist()[:4])
print(f"the angle at position 1000 is off by up to {off:.2f} rad")
sys.exit(0 if off > 0.01 else 1)
