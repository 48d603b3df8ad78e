"""A fitted `GPWorldModel` cannot be loaded: what `fit` computes is registered as None before.

    pip install torch==2.13.0 torchrl==0.14.1 botorch==0.18.1

Prints the result of loading the state dict of a fitted model into a new one, strict and not. The comment above the
registration promises that the values survive state dict round trips. Exits with 0 if they do not, with 1 if they do.
"""

import sys

import torch
from tensordict import TensorDict
from torchrl.modules.models.gp import GPWorldModel

torch.manual_seed(0)
data = {"observation": torch.randn(8, 2), "action": torch.randn(8, 1), ("next", "observation"): torch.randn(8, 2)}
fitted = GPWorldModel(obs_dim=2, action_dim=1)
fitted.fit(TensorDict(data, batch_size=[8]))
state = {name: tensor for name, tensor in fitted.state_dict().items() if "." not in name}
print("saved:", sorted(state))
loaded = GPWorldModel(obs_dim=2, action_dim=1)
try:
    loaded.load_state_dict(state)
    error = None
except RuntimeError as exception:
    error = exception
print("strict load:", error or "fine")
loaded = GPWorldModel(obs_dim=2, action_dim=1)
loaded.X_tilde_train = torch.empty_like(fitted.X_tilde_train)
result = loaded.load_state_dict(state, strict=False)
print("not strict: ", result.unexpected_keys, "->", loaded.compute_factorizations())
lost = {"_cached_beta", "_cached_inv_K_noisy"} <= set(result.unexpected_keys)
sys.exit(0 if error is not None and lost else 1)
