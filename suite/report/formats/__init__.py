"""Blocks, tables and numbers as Markdown, LaTeX, CSV, JSON and Parquet."""
