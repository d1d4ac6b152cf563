"""What an iteration takes, predicted from shapes and a short calibration of the machine.

    seconds = Σ over operations of calls · (of a call) + work · (of a unit of its kind at its size)

An iteration is taken apart into the operations that the code does: dense products, passes over memory, Cholesky
factors and inverses, triangular solves, eigendecompositions, QR factors of thin blocks, random numbers, and calls that
do next to nothing. Those of a refresh are spread over the iterations between refreshes.
"""

from suite.cost.model import Cost, Term, step_cost
from suite.cost.rates import Rates, calibrate

__all__ = ["Cost", "Rates", "Term", "calibrate", "step_cost"]
