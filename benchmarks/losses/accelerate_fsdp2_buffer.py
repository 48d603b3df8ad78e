"""FSDP2 with `cpu_ram_efficient_loading` cannot load a model that has a persistent buffer.

    pip install torch==2.13.0 accelerate==1.15.0

Loads the state dict of a small model into its sharded twin on one CPU rank, without and with a BatchNorm, and prints
what happens. Exits with 0 if only the second raises, with 1 if not.
"""

import os
import sys

os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29615")

import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils.fsdp_utils import fsdp2_load_full_state_dict
from torch import nn
from torch.distributed.fsdp import fully_shard

accelerator = Accelerator(cpu=True)
if not dist.is_initialized():
    dist.init_process_group("gloo")


def load(*layers):
    model = nn.Sequential(*layers)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fully_shard(model, mesh=dist.init_device_mesh("cpu", (1,)))
    try:
        fsdp2_load_full_state_dict(accelerator, model, state)
    except AttributeError as error:
        return error
    return "loaded"


without = load(nn.Linear(4, 4))
print("parameters only:", without)
batch_norm = load(nn.Linear(4, 4), nn.BatchNorm1d(4))
print("BatchNorm:      ", batch_norm)
dist.destroy_process_group()
sys.exit(0 if without == "loaded" and isinstance(batch_norm, AttributeError) else 1)
