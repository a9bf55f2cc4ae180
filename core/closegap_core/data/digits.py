"""The 1,797 handwritten digits inside scikit-learn (UCI optical recognition), grey levels."""

from __future__ import annotations

from closegap_core.data.raw import Raw, packaged_table

SHAPE = (8, 8)


def read() -> Raw:
    """(1797, 8, 8) uint8, unit 16. Raises DataError when scikit-learn is not installed."""
    table = packaged_table("sklearn", ("datasets", "data", "digits.csv.gz"))
    return Raw(table[:, :-1].reshape(-1, *SHAPE), "unit", 16.0)  # the last column is the class label
