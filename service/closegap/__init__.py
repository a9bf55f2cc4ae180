"""The service: job specs, the queue, the artifact store, the HTTP API, its client and the command line.

`from closegap import Client`. What is named here is loaded when it is asked for: `import closegap` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from closegap.client.client import Client
    from closegap.client.encoding import Encoding
    from closegap.client.errors import ClientError, JobCancelled, JobFailed, SpecProblems, WaitTimeout
    from closegap.client.job import Job
    from closegap.client.models import Model
    from closegap.client.retry import Retry

__all__ = [
    "Client",
    "ClientError",
    "Encoding",
    "Job",
    "JobCancelled",
    "JobFailed",
    "Model",
    "Retry",
    "SpecProblems",
    "WaitTimeout",
]

_PLACES = {
    "Client": "client",
    "ClientError": "errors",
    "Encoding": "encoding",
    "Job": "job",
    "JobCancelled": "errors",
    "JobFailed": "errors",
    "Model": "models",
    "Retry": "retry",
    "SpecProblems": "errors",
    "WaitTimeout": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"closegap.client.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
