"""The ranks that train one model together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from torch import Tensor


class Group(Protocol):
    """`size` ranks of which this is `rank`. Every rank calls the same functions in the same order."""

    rank: int
    size: int

    def sum(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over ranks, in place."""

    def any(self, flag: bool) -> bool:
        """Whether any rank says so; the same answer on each."""


@final
class Alone:
    """One rank."""

    rank = 0
    size = 1

    def sum(self, tensor: Tensor) -> None:
        """Nothing to add."""

    def any(self, flag: bool) -> bool:
        return flag


SINGLE = Alone()
