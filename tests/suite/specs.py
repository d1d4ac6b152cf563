"""A small valid spec, and short ways to read changed ones."""

from pathlib import Path

import pytest

from suite.spec.faults import SpecError
from suite.spec.reading import Spec, load_spec

SMALL = """\
version: 1
name: small
optimizers:
  sgd: {method: sgd, lr: 0.1}
  kpsvd: {method: kpsvd, lr: 0.1}
datasets:
  digits:
    data: digits
    network: {kind: autoencoder, encoder: [8, 2]}
    likelihood: bernoulli
    batch_size: 32
seeds: [0, 1]
budget: {iterations: 5}
"""


def changed(old: str, new: str, text: str = SMALL) -> str:
    """`text` with `new` in place of the one `old`."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def loaded(text: str) -> Spec:
    """The spec in `text`, through a file called spec.yaml in the working folder."""
    path = Path("spec.yaml")
    path.write_text(text, encoding="utf-8")
    return load_spec(path)


def faults(text: str) -> list[str]:
    """What is wrong with the spec in `text`."""
    with pytest.raises(SpecError) as caught:
        loaded(text)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return list(caught.value.faults)
