"""A part of a measurement: it goes over rows chunk by chunk, and a chunk's figures depend on no other chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from closegap_core.measure.moments import Columns

T = TypeVar("T")
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


def counted(
    work: Generator[int, None, T], passes: Callable[[int], int], most: int
) -> Generator[int, None, T]:
    """`work`, with what it yields turned into passes, `most` of them at most."""
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            value: T = end.value
            return value
        yield min(most, passes(done))


def outcome(work: Generator[int, None, T]) -> T:
    """What `work` returns at its end; nobody hears of its progress."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            value: T = end.value
            return value
