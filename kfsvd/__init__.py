"""Natural-gradient optimizers whose curvature is a Kronecker approximation of the Fisher matrix.

`import kfsvd` loads nothing; the first name that is asked for loads torch and the library.
"""

from typing import TYPE_CHECKING

from kfsvd._lazy import public

if TYPE_CHECKING:
    from kfsvd._public import *  # noqa: F403

__version__ = "0.1.0"

__getattr__, __dir__ = public(__name__)
