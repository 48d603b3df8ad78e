"""`convert_to_lora` drops the BatchNorm statistics of `modules_to_save`.

    pip install torch==2.13.0 transformers==5.24.0 peft==0.21.2

Prints what PEFT itself saves of a trained BatchNorm, and what it writes when it converts the adapter. Exits with 0 if
the running statistics are missing from the second, with 1 if not.
"""

import sys

import torch
from peft import LoHaConfig, convert_to_lora, get_peft_model, get_peft_model_state_dict
from torch import nn

torch.manual_seed(0)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.norm(self.body(x))


model = get_peft_model(Classifier(), LoHaConfig(target_modules=["body"], modules_to_save=["norm"]))
for _ in range(10):
    model(torch.randn(32, 8) + 5)
saved = get_peft_model_state_dict(model)
print("saved:    ", sorted(name for name in saved if "norm" in name))
print("mean:     ", next(value for name, value in saved.items() if "running_mean" in name)[:4].tolist())
_, converted = convert_to_lora(model, rank=4)
print("converted:", sorted(name for name in converted if "norm" in name))
kept = any("running_mean" in name for name in converted)
sys.exit(1 if kept else 0)
