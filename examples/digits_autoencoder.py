"""A small autoencoder of scikit-learn's digits: KPSVD and Adam from the same weights on the same batches."""

from copy import deepcopy

import torch
from sklearn.datasets import load_digits
from torch import nn

import kfsvd

torch.manual_seed(0)
torch.set_num_threads(1)
images = torch.as_tensor(load_digits().data / 16, dtype=torch.float32)
widths = [(64, 48), (48, 24), (24, 8), (8, 24), (24, 48)]
network = nn.Sequential(*[m for i, o in widths for m in (nn.Linear(i, o), nn.Tanh())], nn.Linear(48, 64))
adam, kpsvd = deepcopy(network), deepcopy(network)
runs = {  # lr=2e-2 is Adam's best of 1e-3, 3e-3, 1e-2, 2e-2 and 4e-2; the quadratic model has none to tune
    "Adam": (adam, torch.optim.Adam(adam.parameters(), lr=2e-2)),
    "KPSVD": (kpsvd, kfsvd.KPSVD(kpsvd, likelihood="bernoulli", step_rule="quadratic_model", damping=1.0)),
}
for iteration in range(301):
    batch = images[torch.randint(len(images), (256,))]
    for name, (model, optimizer) in runs.items():
        if iteration % 50 == 0:
            loss = kfsvd.negative_log_likelihood("bernoulli", model(images), images).mean()
            print(f"{iteration:4d} {name:6} {loss.item():.2f} nats per image")
        optimizer.zero_grad()
        kfsvd.negative_log_likelihood("bernoulli", model(batch), batch).mean().backward()
        optimizer.step()
