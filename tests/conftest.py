"""Settings that every test runs under."""

import os

os.environ["AMARANTH_USE_YOSYS"] = "builtin"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import torch

torch.set_num_threads(1)

# A first example may compile tables or fill caches, and two test processes share two cores: no deadline is meaningful.
hypothesis.settings.register_profile("quietbar", deadline=None, print_blob=True)
hypothesis.settings.load_profile("quietbar")
