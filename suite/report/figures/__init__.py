"""Figures as plain data, and drawn as PNG."""
