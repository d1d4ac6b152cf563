"""The natural-gradient optimizer with each of the approximations: one class each, with the method's own options."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from kfsvd.approximations import deflation, ekfac, eva, foof, kfac, kfac_corrected, kpsvd, lanczos, tkfac, tnt
from kfsvd.optimizers.natural_gradient import NaturalGradient
from kfsvd.options.natural_gradient import EVA, Options
from kfsvd.options.objects import KLClip

if TYPE_CHECKING:
    from torch import nn

    from kfsvd.options.choices import Basis, Solver


class KFAC(NaturalGradient):
    """F̂ = A⊗G, A = E[Σ_t a_t a_tᵀ] (d_in, d_in), G = E[Σ_t g_t g_tᵀ]/T (d_out, d_out) over T positions.

    With one position exact where a aᵀ and g gᵀ are uncorrelated (Martens & Grosse 2015; for convolutions Grosse &
    Martens 2016).

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        options: those of `NaturalGradient`.

    Raises:
        ValueError: as `NaturalGradient`.
        TypeError: as `NaturalGradient`.

    """

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[Options]) -> None:
        super().__init__(model, likelihood, approximation=kfac.KFAC(), **options)


class KPSVD(NaturalGradient):
    """F̂ = R⊗S, the best single Kronecker product: min ‖F − R⊗S‖_F (Koroko et al. 2022, §3.1).

    R = √σ₁ mat(u₁) (d_in, d_in) and S = √σ₁ mat(v₁) (d_out, d_out) of the leading singular triple of Z(F).

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        rank: Kronecker products; above 2 with the damping rule "exact" alone.
        solver: "gram", "matrix_free" or "auto"; see `kfsvd.rearrangement`.
        options: those of `NaturalGradient`.

    Raises:
        ValueError: as `NaturalGradient`, or a rank below 1.
        TypeError: as `NaturalGradient`.

    """

    def __init__(
        self,
        model: nn.Module,
        likelihood: str,
        *,
        rank: int = kpsvd.KPSVD.rank,
        solver: Solver = "auto",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(model, likelihood, approximation=kpsvd.KPSVD(rank, solver), **options)


class Deflation(NaturalGradient):
    """F̂ = R⊗S + P⊗Q: the best product, then the best one for F − R⊗S (Koroko et al. 2022, §3.2).

    Arguments: those of `KPSVD`.
    """

    def __init__(
        self,
        model: nn.Module,
        likelihood: str,
        *,
        rank: int = deflation.Deflation.rank,
        solver: Solver = "auto",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(model, likelihood, approximation=deflation.Deflation(rank, solver), **options)


class Lanczos(NaturalGradient):
    """F̂ = R⊗S + P⊗Q, min ‖F − R⊗S − P⊗Q‖_F jointly, by bidiagonalisation (Koroko et al. 2022, §3.3).

    The same F̂ as `Deflation`'s, found in another way; the Gram form of a small curvature batch is decomposed by LAPACK
    at once. Arguments: those of `KPSVD`.
    """

    def __init__(
        self,
        model: nn.Module,
        likelihood: str,
        *,
        rank: int = lanczos.Lanczos.rank,
        solver: Solver = "auto",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(model, likelihood, approximation=lanczos.Lanczos(rank, solver), **options)


class KFACCorrected(NaturalGradient):
    """F̂ = A⊗G + P⊗Q: KFAC's product, and the best one for F − A⊗G (Koroko et al. 2022, §3.4).

    Arguments: those of `KPSVD`.
    """

    def __init__(
        self,
        model: nn.Module,
        likelihood: str,
        *,
        rank: int = kfac_corrected.KFACCorrected.rank,
        solver: Solver = "auto",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(model, likelihood, approximation=kfac_corrected.KFACCorrected(rank, solver), **options)


class TKFAC(NaturalGradient):
    """F̂ = δ Φ⊗Ψ, δ = E[‖a‖²‖g‖²], Φ = E[‖g‖² a aᵀ]/δ, Ψ = E[‖a‖² g gᵀ]/δ: of F's own trace (Gao et al. 2021).

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        options: those of `NaturalGradient`.

    Raises:
        ValueError: as `NaturalGradient`.
        TypeError: as `NaturalGradient`.

    """

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[Options]) -> None:
        super().__init__(model, likelihood, approximation=tkfac.TKFAC(), **options)


class EKFAC(NaturalGradient):
    """F̂ = U diag(s) Uᵀ, U = U_in ⊗ U_out, s = E[(U_outᵀ G U_in)∘²]: F's own diagonal in a Kronecker eigenbasis.

    ΔW = U_out [(U_outᵀ ∇W U_in) ⊘ (s + λ)] U_inᵀ (George et al. 2018), damped exactly.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        basis: the eigenvectors of KFAC's factors ("kfac", as published) or of KPSVD's ("kpsvd").
        solver: of KPSVD's fit.
        options: those of `NaturalGradient`.

    Raises:
        ValueError: as `NaturalGradient`, or no such basis.
        TypeError: as `NaturalGradient`.

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


class FOOF(NaturalGradient):
    """F̂ = A⊗I: ΔW = ∇W (A + λI)⁻¹, A = E[Σ_t a_t a_tᵀ] (Benzing 2022): KFAC without the gradients' side.

    λ is in squared units of an activation: of the size of A's eigenvalues rather than of F's.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        options: those of `NaturalGradient`.

    Raises:
        ValueError: as `NaturalGradient`.
        TypeError: as `NaturalGradient`.

    """

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[Options]) -> None:
        super().__init__(model, likelihood, approximation=foof.FOOF(), **options)


class TNT(NaturalGradient):
    """F̂ = E[GᵀG]⊗E[GGᵀ]/E[‖G‖²] of gradients G of whole curvature batches with sampled labels (Ren & Goldfarb 2021).

    As many batches are averaged as refreshes: it needs many of them, and a `decay` near 1.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        options: those of `NaturalGradient`.

    Raises:
        ValueError: as `NaturalGradient`.
        TypeError: as `NaturalGradient`.

    """

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[Options]) -> None:
        super().__init__(model, likelihood, approximation=tnt.TNT(), **options)


class Eva(NaturalGradient):
    """F̂ = m_a m_aᵀ ⊗ m_g m_gᵀ: ΔW = (∇W − (m_gᵀ∇W m_a)/(λ + ‖m_a‖²‖m_g‖²) m_g m_aᵀ)/λ, of running means m_a, m_g.

    Vectors in place of matrices (Zhang, Shi & Li 2023). The published KL clip κ = 1e-3 has lr² inside: at lr = .1 it is
    ours of .1. The means are taken by a second pass over the batch, as every curvature here, where the authors' code
    takes them from the first: with a refresh at every step that nearly doubles its cost.

    Args:
        model: as in `NaturalGradient`.
        likelihood: as in `NaturalGradient`.
        options: those of `NaturalGradient`, with the published defaults: `lr` .1 with the KL clip, `damping` .03,
            `refresh_every` 1, `curvature_batch` 1 (the whole batch), `fisher` "empirical", `decay` .05.

    Raises:
        ValueError: as `NaturalGradient`.
        TypeError: as `NaturalGradient`.

    """

    published: ClassVar[Options] = EVA

    def __init__(self, model: nn.Module, likelihood: str, **options: Unpack[Options]) -> None:
        super().__init__(model, likelihood, approximation=eva.Eva(), **options)

    def _default_lr(self) -> float:
        return 0.1 if isinstance(self.step_rule, KLClip) else super()._default_lr()
