"""Trained networks made smaller: what a spec says of it, its cells, and how one is measured."""
