"""DeepChem's `GatedRecurrentUnit` and `EdgeNetwork` have no parameters and no state: their weights are plain tensors.

    pip install torch==2.13.0 numpy==1.26.4 pandas==2.2.3 scipy==1.13.1 scikit-learn==1.5.2 rdkit sympy joblib
    pip install --no-deps deepchem==2.8.0

Loads the state dict of one layer into another and prints what both say to the same input. Exits with 0 if they differ
although the load succeeded, with 1 if not.
"""

import sys

import torch
from deepchem.models.torch_models.layers import EdgeNetwork, GatedRecurrentUnit

torch.manual_seed(0)
edge = EdgeNetwork(4, 4)
print("EdgeNetwork:", len(list(edge.parameters())), "parameters, state dict", dict(edge.state_dict()))
saved, loaded = GatedRecurrentUnit(4), GatedRecurrentUnit(4)
print("GatedRecurrentUnit:", len(list(saved.parameters())), "parameters, state dict", dict(saved.state_dict()))
print("load:", loaded.load_state_dict(saved.state_dict()))
x = torch.ones(1, 4)
before, after = saved([x, x]), loaded([x, x])
print("before:", before.tolist())
print("after: ", after.tolist())
sys.exit(0 if not saved.state_dict() and not torch.allclose(before, after) else 1)
