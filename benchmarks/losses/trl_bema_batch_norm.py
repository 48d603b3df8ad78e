"""TRL's BEMA model gets averaged parameters, but the buffers of the model that training began with.

    pip install torch==2.13.0 transformers==5.24.0 trl==1.16.0

Runs the callback over a few steps of a small ResNet and prints a BatchNorm mean of the trained model and of the model
that the callback saves. Exits with 0 if the second is still at its initial value, with 1 if not.
"""

import sys
import tempfile
from types import SimpleNamespace

import torch
from transformers import ResNetConfig, ResNetForImageClassification
from trl import BEMACallback

torch.manual_seed(0)
config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
model = ResNetForImageClassification(config).train()
callback = BEMACallback(update_freq=1)
with tempfile.TemporaryDirectory() as folder:
    arguments = SimpleNamespace(output_dir=folder)
    callback.on_train_begin(arguments, None, None, model=model)
    for step in range(10):
        model(torch.randn(4, 3, 32, 32) + 5)
        callback.on_step_end(arguments, SimpleNamespace(global_step=step), None, model=model)
    callback.on_train_end(arguments, SimpleNamespace(is_world_process_zero=True), None)
    averaged = ResNetForImageClassification.from_pretrained(f"{folder}/bema")
name = next(name for name, _ in model.named_buffers() if name.endswith("running_mean"))
trained, saved = model.get_buffer(name), averaged.get_buffer(name)
print("trained:", trained[:4].tolist())
print("saved:  ", saved[:4].tolist())
sys.exit(0 if trained.abs().max() > 0.1 and not saved.any() else 1)
