"""`Trainer.evaluate()` with `bf16_full_eval` rounds the rotary frequencies, and leaves them so.

    pip install torch==2.13.0 transformers==5.24.0 accelerate==1.15.0

Prints the rotary frequencies of a small Llama before and after one evaluation, and how far the angle at position 8191
is off. Exits with 0 if they were rounded, with 1 if not.
"""

import sys
import tempfile

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

config = LlamaConfig(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
)
model = LlamaForCausalLM(config)
rotary = model.model.rotary_emb
before = rotary.inv_freq.clone()
rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)}]
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(folder, use_cpu=True, bf16_full_eval=True, report_to=[])
    Trainer(model, arguments, eval_dataset=rows).evaluate()
after = rotary.inv_freq
off = ((after.float() - before) * 8191).abs().max().item()
print("before:", before.dtype, before[1:4].tolist())
print("after: ", after.dtype, after[1:4].tolist())
print(f"the angle at position 8191 is off by up to {off:.2f} rad")
sys.exit(0 if off > 0.01 else 1)
