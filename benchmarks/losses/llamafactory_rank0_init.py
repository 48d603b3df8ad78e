"""LLaMA-Factory's `init_on_rank0` leaves every non-persistent buffer as uninitialised memory.

    pip install torch==2.13.0 transformers==5.6.0 peft==0.18.1 accelerate==1.11.0 psutil
    pip install --no-deps llamafactory==0.9.5

Shards a small Llama on one CPU rank and prints the rotary frequencies before and after. Memory that nobody wrote is
filled with NaN, so that it shows. Exits with 0 if the values are lost, with 1 if not.
"""

import os
import sys

os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29614")

import torch
from llamafactory.v1.accelerator.interface import DistributedInterface
from llamafactory.v1.plugins.trainer_plugins.distributed.fsdp2 import FSDP2Engine
from transformers import LlamaConfig, LlamaForCausalLM

DistributedInterface({"name": "fsdp2"})
torch.use_deterministic_algorithms(True, warn_only=True)
sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
model = LlamaForCausalLM(LlamaConfig(num_attention_heads=2, num_key_value_heads=2, **sizes))
model._init_mode = "init_on_rank0"
weight = model.lm_head.weight.detach().clone()
before = model.model.rotary_emb.inv_freq.clone()
model = FSDP2Engine({"name": "fsdp2"}).shard_model(model)
after = model.model.rotary_emb.inv_freq
print("weights kept:", torch.equal(model.lm_head.weight.full_tensor(), weight))
print("before:", before[:4].tolist())
print("after: ", after[:4].tolist())
torch.distributed.destroy_process_group()
sys.exit(1 if torch.equal(before, after) else 0)
