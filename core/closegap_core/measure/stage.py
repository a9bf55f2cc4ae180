"""A part of a measurement: it goes over rows chunk by chunk, and a chunk's figures depend on no other chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator

from closegap_core.measure.moments import Columns

Found = Callable[[str, range], Columns]
"""What an earlier stage, by name, found for these rows."""


class Stage(ABC):
    """name: of its files; rows: how many there are; chunk: how many are measured together.

    cost: decoder passes a row as far as they are known beforehand, forward and backward counted apart.
    """

    name: str
    rows: int
    chunk: int
    cost: int

    def chunks(self) -> Iterator[range]:
        """Consecutive chunks, the last one ragged."""
        for first in range(0, self.rows, self.chunk):
            yield range(first, min(first + self.chunk, self.rows))

    @abstractmethod
    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        """Figures of these rows, (B, …) each; yields now and then how many of `cost` passes a row are done."""
