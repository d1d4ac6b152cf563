"""Values that are chosen by name. Nothing here loads torch: specifications are read with it."""

from __future__ import annotations

from typing import Literal

DampingRule = Literal["factored", "factored_pi", "exact"]
"""How λ enters a Kronecker sum; see `kfsvd.inverse`."""
Guard = Literal["floor", "absolute", "raise"]
"""What is done if a damped sum of two products is not positive definite; see `kfsvd.inverse`."""
FisherType = Literal["monte_carlo", "exact", "empirical"]
"""The labels of a Fisher matrix; see `kfsvd.capture`."""
Averaging = Literal["factors", "stream", "samples"]
"""How F̂ is averaged over refreshes; see `kfsvd.averaging`."""
Inverse = Literal["dense", "low_rank"]
"""The form of a damped inverse."""
StepRule = Literal["kl_clip", "quadratic_model", "adam_norm", "sgd_norm", "none"]
"""How a step is scaled; see `kfsvd.optimizers.natural_gradient`."""
Graft = Literal["none", "adam_norm", "sgd_norm"]
"""A length that a matrix optimizer's step is given."""
Solver = Literal["auto", "gram", "matrix_free"]
"""How singular pairs are found; see `kfsvd.rearrangement`."""
Basis = Literal["kfac", "kpsvd"]
"""Whose eigenvectors are EKFAC's basis."""
Blocks = Literal["network", "layers"]
"""The whole Fisher matrix, or its diagonal blocks."""
Coarse = Literal["nicolaides", "residual", "spectral", "krylov"]
"""The coarse spaces of two-level KFAC."""
Scale = Literal["original", "match_rms_adamw"]
"""How Muon scales a step by its matrix's shape."""
Structure = Literal["element", "row", "column"]
"""What is pruned as one."""

Schedule = int | str
"""A number of iterations, or a schedule such as "10, 100 from 500"; see `kfsvd.options.intervals`."""
