"""One thread: the networks of the tests are small, and timings on few cores stay steady."""

import torch

torch.set_num_threads(1)
