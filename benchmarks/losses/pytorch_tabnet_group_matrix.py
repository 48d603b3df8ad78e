"""TabNet keeps its group matrices as plain tensors: what moves or casts the network leaves them behind.

    pip install torch==2.13.0 pytorch-tabnet==4.1.0

Prints the state that `.double()` converts and the matrices that it does not, and what `forward` says to that; `.to()`
another device does the same. Exits with 0 if the matrices stay behind, with 1 if not.
"""

import sys

import torch
from pytorch_tabnet.tab_network import TabNet

torch.manual_seed(0)
network = TabNet(input_dim=4, output_dim=2, group_attention_matrix=torch.eye(4)).eval()
print("before:", network(torch.randn(8, 4))[0].dtype)
network.double()
dtypes = {str(tensor.dtype) for tensor in network.state_dict().values() if tensor.is_floating_point()}
matrix = network.tabnet.encoder.group_attention_matrix
print("after .double(): state dict", sorted(dtypes), "group_attention_matrix", matrix.dtype)
try:
    network(torch.randn(8, 4, dtype=torch.float64))
    error = None
except RuntimeError as exception:
    error = exception
print("forward:", error or "fine")
lost = matrix.dtype != torch.float64 and error is not None
sys.exit(0 if lost else 1)
