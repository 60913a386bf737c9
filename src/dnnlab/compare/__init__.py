"""Runs beside each other: means with intervals, what ties with the best, main effects; as tables, pictures and one page."""

from dnnlab.compare.comparison import Comparison, compare, jobs_in

__all__ = ["Comparison", "compare", "jobs_in"]
