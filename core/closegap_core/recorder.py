"""Work that is recorded once and replayed on a device, without the host that described it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import final

import torch
from torch import Tensor


class Recorder(ABC):
    """Where recorded work runs, and how its inputs get there."""

    @abstractmethod
    def aside(self) -> AbstractContextManager[None]:
        """Whatever runs within is ordered after all work before it, and before all work after it."""

    @abstractmethod
    def move(self, buffer: Tensor, source: Tensor) -> None:
        """Copy `source`, of the host or the device, into `buffer`; the host need not wait."""

    @abstractmethod
    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """`work` as something that repeats it on the values its buffers then have; it has not run yet.

        It must have run before, and keep no tensor of its own.
        """


@final
class Graphs(Recorder):
    """CUDA graphs, on a stream beside the default one: what is captured must not be on that.

    Written without a GPU at hand and not run on one yet; `tests/core/test_captured.py` does so where there is one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # One pool serves all graphs: none leaves anything there that another could overwrite.
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def move(self, buffer: Tensor, source: Tensor) -> None:
        # The allocator of pinned memory hands a block out again only when copies from it are done.
        buffer.copy_(source if source.is_cuda else source.pin_memory(), non_blocking=True)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # thread_local: what other threads of the process ask of the device meanwhile is none of the graph's.
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            work()
        return graph.replay
