"""The natural-gradient optimizer with each of the approximations: one class each, with the method's own options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from kfsvd.approximations import deflation, ekfac, kfac, kfac_corrected, kpsvd, lanczos, tkfac
from kfsvd.optimizers.natural_gradient import NaturalGradient, Options

if TYPE_CHECKING:
    from torch import nn

    from kfsvd.approximations.ekfac import Basis
    from kfsvd.rearrangement import Solver


class KFAC(NaturalGradient):
    """F̂ = E[aaᵀ]⊗E[ggᵀ] (Martens & Grosse 2015). Options: those of `NaturalGradient`."""

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[Options]) -> None:
        super().__init__(model, likelihood, approximation=kfac.KFAC(), **options)


class KPSVD(NaturalGradient):
    """F̂ = the best single Kronecker product R⊗S (Koroko et al. 2022).

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        rank: Kronecker products; above 2 with the damping rule "exact" alone.
        solver: "gram", "matrix_free" or "auto"; see `kfsvd.rearrangement`.
        options: those of `NaturalGradient`.

    """

    def __init__(
        self, model: nn.Module, likelihood: str, *, rank: int = 1, solver: Solver = "auto", **options: Unpack[Options]
    ) -> None:
        super().__init__(model, likelihood, approximation=kpsvd.KPSVD(rank, solver), **options)


class Deflation(NaturalGradient):
    """F̂ = the best Kronecker products, one after the other (ibid.). Arguments: those of `KPSVD`."""

    def __init__(
        self, model: nn.Module, likelihood: str, *, rank: int = 2, solver: Solver = "auto", **options: Unpack[Options]
    ) -> None:
        super().__init__(model, likelihood, approximation=deflation.Deflation(rank, solver), **options)


class Lanczos(NaturalGradient):
    """F̂ = the best Kronecker products, jointly (ibid.). Arguments: those of `KPSVD`."""

    def __init__(
        self, model: nn.Module, likelihood: str, *, rank: int = 2, solver: Solver = "auto", **options: Unpack[Options]
    ) -> None:
        super().__init__(model, likelihood, approximation=lanczos.Lanczos(rank, solver), **options)


class KFACCorrected(NaturalGradient):
    """F̂ = KFAC's product plus the best ones for what it leaves (ibid.). Arguments: those of `KPSVD`."""

    def __init__(
        self, model: nn.Module, likelihood: str, *, rank: int = 2, solver: Solver = "auto", **options: Unpack[Options]
    ) -> None:
        super().__init__(model, likelihood, approximation=kfac_corrected.KFACCorrected(rank, solver), **options)


class TKFAC(NaturalGradient):
    """F̂ = δ Φ⊗Ψ, of F's own trace (Gao et al. 2021). Options: those of `NaturalGradient`."""

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[Options]) -> None:
        super().__init__(model, likelihood, approximation=tkfac.TKFAC(), **options)


class EKFAC(NaturalGradient):
    """F̂ = the exact diagonal of F in a Kronecker eigenbasis (George et al. 2018), damped exactly.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        basis: the eigenvectors of KFAC's factors ("kfac", as published) or of KPSVD's ("kpsvd").
        solver: of KPSVD's fit.
        options: those of `NaturalGradient`.

    """

    def __init__(
        self,
        model: nn.Module,
        likelihood: str,
        *,
        basis: Basis = "kfac",
        solver: Solver = "auto",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(model, likelihood, approximation=ekfac.EKFAC(basis, solver), **options)
