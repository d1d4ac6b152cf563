"""What is trained on what: data sets, networks and losses, by name.

Nothing here imports torch, SciPy or scikit-learn before a problem is loaded.
"""

from suite.problems.batching import batches
from suite.problems.data import DATASETS
from suite.problems.data import names as dataset_names
from suite.problems.data.folders import Folders
from suite.problems.networks import NETWORKS, Network
from suite.problems.problem import Problem, load_problem
from suite.problems.spec import ProblemSpec
from suite.problems.split import Split

__all__ = [
    "DATASETS",
    "NETWORKS",
    "Folders",
    "Network",
    "Problem",
    "ProblemSpec",
    "Split",
    "batches",
    "dataset_names",
    "load_problem",
]
