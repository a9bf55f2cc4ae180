"""Rows: read from a source, checked against the likelihood, divided by seed. Imports numpy, never torch."""

from __future__ import annotations

from closegap_core.data.binarise import binarise
from closegap_core.data.counts import Counts, Rows, Tfidf
from closegap_core.data.dataset import Dataset, Part, load, load_rows
from closegap_core.data.raw import Values

__all__ = ["Counts", "Dataset", "Part", "Rows", "Tfidf", "Values", "binarise", "load", "load_rows"]
