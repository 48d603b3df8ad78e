"""The rotary table of llm-compressor's DeepSeek-V3.2 is uninitialised memory after `from_pretrained`.

    pip install torch==2.13.0 transformers==5.17.0 llmcompressor==0.14.0.1

Saves a small model, loads it, and prints a non-persistent buffer of it before and after. Memory that nobody wrote is
filled with NaN, so that it shows. Exits with 0 if the values are lost, with 1 if not.
"""

import sys
import tempfile

import torch
from llmcompressor.modeling.deepseekv32.config import ModelConfig
from llmcompressor.modeling.deepseekv32.model import DeepseekV32ForCausalLM

torch.use_deterministic_algorithms(True, warn_only=True)
ranks = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
experts = {"n_routed_experts": 2, "n_shared_experts": 1, "n_activated_experts": 1, "moe_intermediate_size": 32}
index = {"index_n_heads": 2, "index_head_dim": 16, "index_topk": 4}
sizes = {"dim": 64, "hidden_size": 64, "inter_dim": 64, "n_layers": 1, "n_heads": 2, "vocab_size": 32}
config = ModelConfig(max_seq_len=32, max_batch_size=1, moe_inter_dim=32, **sizes, **ranks, **experts, **index)
model = DeepseekV32ForCausalLM(config)
before = model.model.freqs_cis[1]
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    after = DeepseekV32ForCausalLM.from_pretrained(folder).model.freqs_cis[1]
print("before:", before.tolist())
print("after: ", after.tolist())
sys.exit(1 if torch.equal(before, after) else 0)
