"""Arrays out of a Python 2 pickle without running it: its opcodes are looked at, one by one, as data.

Only what the published batches of CIFAR-10 are made of is known: strings, integers, lists, tuples, one dictionary, and
uint8 arrays. `GLOBAL` names what would be called; three names of numpy are known and stand for themselves, nothing
is imported or called. Everything else is refused.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np

from closegap_core.errors import DataError

DEEPEST = 100_000
"""Entries of the stack."""


class _Name(NamedTuple):
    """A global that the stream names."""

    name: str


class _Unbuilt(NamedTuple):
    """An array or dtype before its state arrives."""

    kind: str


_MARK = _Name("mark")
_ARRAY, _DTYPE = _Unbuilt("array"), _Unbuilt("dtype")
_BYTE = _Name("uint8")
_KNOWN = {
    "numpy.core.multiarray _reconstruct": _Name("reconstruct"),
    "numpy ndarray": _Name("ndarray"),
    "numpy dtype": _Name("dtype"),
}
_RECONSTRUCT, _NDARRAY, _MAKE_DTYPE = _KNOWN.values()
_BYTE_STATE = (3, "|", None, None, None, -1, -1, 0)
_VALUES = frozenset({"BININT", "BININT1", "BININT2", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE"})
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "MARK": lambda: _MARK,
}
_DAMAGED = (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_dictionary(content: bytes, place: str) -> dict[str, Any]:
    """The dictionary of a pickle; arrays in it are uint8.

    Raises DataError: damaged, or with anything in it that is not known here.
    """
    reader = _Reader()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # of a strange escape in a damaged string
            for opcode, argument, _ in pickletools.genops(content):
                if opcode.name != "STOP":
                    reader.read(opcode.name, argument)
        (result,) = reader.stack
    except (*_DAMAGED, DeprecationWarning) as error:
        raise DataError(f"{place} is damaged, or no pickle of the published form: {error}") from error
    if not isinstance(result, dict):
        raise DataError(f"{place} holds a {type(result).__name__}; expected is a dictionary")
    return result


@final
@dataclass
class _Reader:
    """Stack and memo. What is not understood raises ValueError, KeyError or IndexError."""

    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def read(self, name: str, argument: Any) -> None:
        """Take one opcode in."""
        if len(self.stack) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} values on the stack")
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            self._tuple([self.stack.pop() for _ in range(_TUPLES[name])][::-1])
        elif name == "TUPLE":
            self._tuple(self._marked())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._get(argument)
        elif name in ("APPEND", "APPENDS"):
            values = [self.stack.pop()] if name == "APPEND" else self._marked()
            self._top(list).extend(values)
        elif name in ("SETITEM", "SETITEMS"):
            values = [self.stack.pop(), self.stack.pop()][::-1] if name == "SETITEM" else self._marked()
            self._top(dict).update(zip(values[::2], values[1::2], strict=True))
        elif name == "GLOBAL":
            if argument not in _KNOWN:
                raise ValueError(f"it names {argument!r}, which is not read")
            self.stack.append(_KNOWN[argument])
        elif name == "REDUCE":
            self._reduce(self.stack.pop(), self.stack.pop())
        elif name == "BUILD":
            self._build(self.stack.pop(), self.stack.pop())
        elif name != "PROTO":
            raise ValueError(f"opcode {name} is not read")

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a {kind.__name__} was expected")
        return self.stack[-1]

    def _tuple(self, values: list[Any]) -> None:
        self.stack.append(tuple(values))

    def _marked(self) -> list[Any]:
        """The values above the last mark, taken off with it."""
        place = max(i for i, value in enumerate(self.stack) if value is _MARK)
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def _get(self, place: int) -> None:
        value = self.memo[place]
        if isinstance(value, _Unbuilt | list | dict):
            raise ValueError("it refers back to a list, a dictionary or an array")
        self.stack.append(value)

    def _reduce(self, arguments: Any, called: Any) -> None:
        if called is _RECONSTRUCT and arguments == (_NDARRAY, (0,), "b"):
            self.stack.append(_ARRAY)
        elif called is _MAKE_DTYPE and arguments in (("u1", 0, 1), ("u1", False, True)):
            self.stack.append(_DTYPE)
        else:
            raise ValueError("it calls what is neither an array nor its uint8 type")

    def _build(self, state: Any, target: Any) -> None:
        if target is _DTYPE and state == _BYTE_STATE:
            self.stack.append(_BYTE)
        elif target is _ARRAY:
            self.stack.append(_array(*state))
        else:
            raise ValueError("it sets the state of what is neither an array nor its uint8 type")


def _array(version: int, shape: tuple[int, ...], dtype: Any, fortran: bool, values: str) -> np.ndarray:
    if version != 1 or dtype is not _BYTE or type(fortran) is not bool:
        raise ValueError("an array of another form than uint8, version 1")
    flat = np.frombuffer(values.encode("latin-1"), np.uint8)
    if not all(type(size) is int and size > 0 for size in shape):
        raise ValueError(f"an array of shape {shape}")
    return flat.reshape(shape, order="F" if fortran else "C")
