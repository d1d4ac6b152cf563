"""A report as one file: tables, charts that answer, and nothing that is fetched from anywhere."""

from suite.report.html.page import render

__all__ = ["render"]
