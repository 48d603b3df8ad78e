"""A model with `torch.Tensor([True])` for a buffer cannot be built or loaded under DeepSpeed ZeRO-3.

    pip install torch==2.13.0 transformers==5.24.0 accelerate==1.15.0
    DS_BUILD_OPS=0 pip install deepspeed==0.19.8

Prints what `EncodecModel.from_pretrained` gives without and with ZeRO-3. Under `zero.Init` the list is taken for
sizes. Exits with 0 if only the second raises, with 1 if not.
"""

import os
import sys
import tempfile

os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29612")
os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed
from transformers import EncodecConfig, EncodecModel
from transformers.integrations import HfDeepSpeedConfig

deepspeed.init_distributed("gloo")
config = EncodecConfig(
    num_filters=4,
    hidden_size=8,
    codebook_size=8,
    codebook_dim=8,
    num_lstm_layers=1,
    upsampling_ratios=[2, 2],
    norm_type="time_group_norm",
)
with tempfile.TemporaryDirectory() as folder:
    EncodecModel(config).save_pretrained(folder)
    plain = EncodecModel.from_pretrained(folder)
    print("without ZeRO-3:", plain.quantizer.layers[0].codebook.inited)
    zero3 = HfDeepSpeedConfig({"zero_optimization": {"stage": 3}, "train_micro_batch_size_per_gpu": 1})
    try:
        model = EncodecModel.from_pretrained(folder)
        error = None
        print("with ZeRO-3:   ", model.quantizer.layers[0].codebook.inited)
    except TypeError as exception:
        error = exception
        print("with ZeRO-3:   ", type(error).__name__, str(error).splitlines()[0])
sys.exit(0 if error is not None else 1)
