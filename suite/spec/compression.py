"""What `compression:` of a spec may say."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field

from suite.methods.compression import AnyCompressor, Compressor
from suite.model import Model
from suite.spec.labels import Label


def _differ(ratios: list[float]) -> list[float]:
    for ratio in ratios:
        if ratios.count(ratio) > 1:
            raise ValueError(f"{ratio:g} is listed twice")
    return ratios


class CompressionOutline(Model):
    """Trained networks made smaller: every method at every ratio, from every seed of every data set."""

    trained_by: str = Field(description="an optimizer of the spec, whose networks are compressed")
    ratios: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1), AfterValidator(_differ)] = Field(
        description="shares of the weights that are left"
    )
    fine_tuning: int = Field(default=0, ge=0, description="iterations of that optimizer after each compression")
    examples: int = Field(default=512, ge=1, description="training examples that the Fisher matrix is sampled on")
    fisher: Literal["monte_carlo", "exact", "empirical"] = Field(
        default="monte_carlo", description="whose expectation it is, as for `kfsvd.capture`"
    )
    methods: dict[Label, AnyCompressor] = Field(min_length=1)


class Compression(NamedTuple):
    """What a cell does with its network once that is trained."""

    label: str  # in the spec
    method: Compressor
    outline: CompressionOutline
