"""Decompositions that keep to one tolerance on every device, free of subnormal numbers."""
