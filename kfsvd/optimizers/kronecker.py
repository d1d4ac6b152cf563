"""The natural-gradient optimizer with each of the Kronecker approximations."""

from kfsvd.optimizers.natural_gradient import NaturalGradient


class KFAC(NaturalGradient):
    """F̂ = E[a aᵀ]⊗E[g gᵀ] (Martens & Grosse 2015); arguments: `NaturalGradient`."""

    approximation = "kfac"


class KPSVD(NaturalGradient):
    """F̂ = the best single Kronecker product R⊗S (Koroko et al. 2022); arguments: `NaturalGradient`."""

    approximation = "kpsvd"


class Deflation(NaturalGradient):
    """F̂ = the best two Kronecker products, one after the other (ibid.); arguments: `NaturalGradient`."""

    approximation = "deflation"


class Lanczos(NaturalGradient):
    """F̂ = the best two Kronecker products, jointly (ibid.); arguments: `NaturalGradient`."""

    approximation = "lanczos"


class KFACCorrected(NaturalGradient):
    """F̂ = KFAC's product plus the best one for what it leaves (ibid.); arguments: `NaturalGradient`."""

    approximation = "kfac_corrected"


class TKFAC(NaturalGradient):
    """F̂ = δ Φ⊗Ψ, of F's own trace (Gao et al. 2021); arguments: `NaturalGradient`."""

    approximation = "tkfac"
