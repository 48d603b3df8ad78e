"""BPfold's ALiBi slopes are uninitialised memory after `from_pretrained`.

    pip install torch==2.13.0 transformers==5.24.0 multimolecule==0.2.2

Loads the state dict of a small model and prints a non-persistent buffer of it before and after. Memory that nobody
wrote is filled with NaN, so that it shows. Exits with 0 if the values are lost, with 1 if not.
"""

import sys

import torch
from multimolecule.models.bpfold import BpfoldConfig, BpfoldModel


def slopes(model):
    return next(buffer for name, buffer in model.named_buffers() if name.endswith(".slopes")).flatten()


torch.use_deterministic_algorithms(True, warn_only=True)
config = BpfoldConfig(
    hidden_size=16,
    attention_head_size=4,
    intermediate_size=16,
    num_hidden_layers=1,
    num_members=1,
    positional_embedding="alibi",
)
model = BpfoldModel(config)
loaded = BpfoldModel.from_pretrained(None, config=config, state_dict=model.state_dict())
print("before:", slopes(model).tolist())
print("after: ", slopes(loaded).tolist())
sys.exit(1 if torch.equal(slopes(model), slopes(loaded)) else 0)
