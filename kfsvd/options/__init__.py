"""Every option of every method: what it is called, what it is, its range and its default. Nothing here loads torch."""

from kfsvd.options.objects import CurvatureBatch, Damping, KLClip, LearningRate, LowRank, Refresh

__all__ = ["CurvatureBatch", "Damping", "KLClip", "LearningRate", "LowRank", "Refresh"]
