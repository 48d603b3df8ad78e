"""`deepspeed.init_inference(dtype=torch.bfloat16)` rounds the rotary frequencies of the model that it is given.

    pip install torch==2.13.0 transformers==5.24.0
    DS_BUILD_OPS=0 pip install deepspeed==0.19.8

`from_pretrained(dtype=torch.bfloat16)` keeps them in float32. Prints the frequencies of a small Llama before and
after, and how far the angle at position 8191 is off. Exits with 0 if they were rounded, with 1 if not.
"""

import os
import sys

os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29613")
os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed
import torch
from transformers import LlamaConfig, LlamaForCausalLM

sizes = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
model = LlamaForCausalLM(LlamaConfig(num_attention_heads=1, num_key_value_heads=1, **sizes))
rotary = model.model.rotary_emb
before = rotary.inv_freq.clone()
deepspeed.init_inference(model, dtype=torch.bfloat16, replace_with_kernel_inject=False)
after = rotary.inv_freq
off = ((after.float() - before) * 8191).abs().max().item()
print("before:", before.dtype, before[1:4].tolist())
print("after: ", after.dtype, after[1:4].tolist())
print(f"the angle at position 8191 is off by up to {off:.2f} rad")
sys.exit(0 if off > 0.01 else 1)
