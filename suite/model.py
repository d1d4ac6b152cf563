"""The base of every pydantic model that a spec is made of."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Frozen, strict about types ("0.1" is not a number), and closed: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
