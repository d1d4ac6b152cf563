"""Approximations of a layer's Fisher block: one file, one class and one line of registration each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kfsvd.approximations.base import Approximation
from kfsvd.approximations.deflation import Deflation
from kfsvd.approximations.ekfac import EKFAC
from kfsvd.approximations.eva import Eva
from kfsvd.approximations.exact import Exact
from kfsvd.approximations.foof import FOOF
from kfsvd.approximations.kfac import KFAC
from kfsvd.approximations.kfac_corrected import KFACCorrected
from kfsvd.approximations.kpsvd import KPSVD
from kfsvd.approximations.lanczos import Lanczos
from kfsvd.approximations.tkfac import TKFAC
from kfsvd.approximations.tnt import TNT
from kfsvd.options.registry import made

if TYPE_CHECKING:
    from kfsvd.curvature.base import Curvature
    from kfsvd.network.samples import LayerSamples

APPROXIMATIONS: dict[str, type[Approximation]] = {
    "kfac": KFAC,
    "kpsvd": KPSVD,
    "deflation": Deflation,
    "lanczos": Lanczos,
    "kfac_corrected": KFACCorrected,
    "tkfac": TKFAC,
    "ekfac": EKFAC,
    "exact": Exact,
    "foof": FOOF,
    "tnt": TNT,
    "eva": Eva,
}
"""Every approximation by its name for `kfsvd.fit` and the optimizers: its class, whose fields are its options."""

__all__ = ["APPROXIMATIONS", "Approximation", "approximation", "fit", "sums"]


def approximation(method: str, **options: Any) -> Approximation:
    """The method of that name with those options.

    Args:
        method: a name in `APPROXIMATIONS`.
        options: the fields of its class: `rank` and `solver` for the methods made of singular pairs, `basis` for EKFAC.

    Raises:
        ValueError: no approximation has that name, it has no such option, or an option's value is invalid.

    """
    return made(APPROXIMATIONS, method, options)


def fit(method: str, samples: LayerSamples, **options: Any) -> Curvature:
    """Fit an approximation F̂ to the Fisher block of `samples`.

    Args:
        method: a name in `APPROXIMATIONS`: "kfac", "kpsvd", "deflation", "lanczos", "kfac_corrected" and "tkfac" give a
            `KroneckerSum`, as do "foof" and "tnt", "ekfac" a `KroneckerEigenbasis`, "eva" a curvature of rank one,
            "exact" the `SampledFisher` itself.
        samples: the layer's activations and sampled gradients.
        options: `rank=` and `solver=` for the methods made of singular pairs (kpsvd, deflation, lanczos,
            kfac_corrected), `basis=` ("kfac" or "kpsvd") for ekfac.

    Raises:
        ValueError: no approximation has that name, or it has no such option.

    """
    return approximation(method, **options).fit(samples)


def sums(most: int) -> list[str]:
    """The names of the approximations whose F̂ is a sum of Kronecker products.

    Args:
        most: the most products that it may have, at the approximation's default rank.

    """
    products = {name: kind().products for name, kind in APPROXIMATIONS.items()}
    return [name for name, count in products.items() if count is not None and count <= most]
