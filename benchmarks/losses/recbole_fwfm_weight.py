"""FwFM's field pair weights are a random plain tensor: never trained, never saved, drawn anew for every model.

    pip install torch==2.13.0 numpy==1.26.4 pandas==2.2.3 scipy==1.13.1 scikit-learn==1.5.2
    pip install tqdm pyyaml colorlog==4.7.2 colorama texttable tabulate tensorboard plotly psutil thop
    pip install --no-deps recbole==1.2.1

Saves one model, loads it into another, and prints what both say to the same rows of RecBole's bundled ml-100k. Exits
with 0 if they differ, with 1 if not.
"""

import sys
import tempfile

import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.model.context_aware_recommender.fwfm import FwFM

sys.argv = sys.argv[:1]
with tempfile.TemporaryDirectory() as folder:
    settings = {"use_gpu": False, "checkpoint_dir": folder, "show_progress": False}
    config = Config(model="FwFM", dataset="ml-100k", config_dict=settings)
    dataset = create_dataset(config)
train = dataset.build()[0]
rows = train.join(train.inter_feat[:4])
saved = FwFM(config, dataset).eval()
loaded = FwFM(config, dataset).eval()
print("load:", loaded.load_state_dict(saved.state_dict()))
print("trained or saved:", any(name == "weight" for name in saved.state_dict()))
with torch.no_grad():
    before, after = saved.predict(rows), loaded.predict(rows)
print("before:", before.tolist())
print("after: ", after.tolist())
sys.exit(1 if torch.allclose(before, after) else 0)
