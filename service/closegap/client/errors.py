"""What the client raises: one base, a class for each thing that a caller may want to handle by itself.

Each is also the service's own error of that meaning where there is one, so that `except closegap.errors.NotFound` and
the exit codes of the command line hold whether a queue is asked directly or through the API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from closegap import errors
from closegap.errors import Problem, ServiceError

if TYPE_CHECKING:
    import httpx


class ClientError(ServiceError):
    """Base of every error of the client. `status` 0: there was no answer."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        problems: Sequence[Problem] = (),
        request_id: str = "",
    ) -> None:
        self.status, self.code, self.request_id = status, code, request_id
        self.problems = tuple(problems)
        """Everything that is wrong with the request, each with its JSON pointer."""
        said = [message, *(f"  {problem.pointer or '/'}: {_words(problem)}" for problem in self.problems)]
        # Not `super()`: the service's errors, which stand beside this one as bases, are made of other things.
        Exception.__init__(self, "\n".join(said))


@final
class Unreachable(ClientError, errors.StoreUnavailable):
    """Nobody answers at the address, or not in time."""


@final
class NoService(ClientError):
    """Who answers at the address is no closegap service, or what it says cannot be read."""


@final
class Unauthorized(ClientError):
    """There is no token, or it is none, was revoked, or is over."""


@final
class Forbidden(ClientError):
    """The token's role does not allow it."""


@final
class NotFound(ClientError, errors.NotFound):
    """There is no such thing, or not for this token."""


@final
class Conflict(ClientError, errors.Conflict):
    """It contradicts what is recorded."""


@final
class Changed(ClientError, errors.Changed):
    """The record has another version by now."""


@final
class KeyReused(ClientError, errors.KeyReused):
    """The idempotency key was used for other specs before."""


@final
class SpecProblems(ClientError, errors.SpecError):
    """A spec is not valid: `problems` has everything that is wrong with it."""


@final
class Refused(ClientError, errors.Refused):
    """No worker could ever hold it, or its project may never."""


@final
class InvalidRequest(ClientError):
    """The request is not valid: `problems` has everything that is wrong with it."""


@final
class InvalidRows(ClientError):
    """Rows do not fit the model that shall encode them."""


@final
class TooLarge(ClientError):
    """The request is larger than the service takes at once."""


@final
class TooManyRequests(ClientError):
    """More than the token may ask for, also after waiting as long as was said."""


@final
class Unavailable(ClientError, errors.StoreUnavailable):
    """The service, or its store, is away, also after several tries."""


@final
class ServerFault(ClientError):
    """A fault of the service; its log has more under `request_id`."""


@final
class DamagedFile(ClientError):
    """What was downloaded is not what the service says it has; nothing was kept."""


class JobEnded(ClientError):
    """A job is over and did not succeed."""

    def __init__(self, message: str, job: str, url: str) -> None:
        self.job, self.url = job, url
        super().__init__(message)


@final
class JobFailed(JobEnded):
    """A job failed. `failure_class`: user, numerical, infrastructure or preempted; `log`: its last lines."""

    def __init__(self, message: str, job: str, url: str, failure: str, hint: str, log: Sequence[str]) -> None:
        self.failure_class, self.hint, self.log = failure, hint, tuple(log)
        tail = "".join(f"\n  | {line}" for line in self.log)
        advice = f"\nhint: {hint}" if hint else ""
        super().__init__(f"job {job} failed ({failure}): {message}{advice}\n{url}{tail}", job, url)


@final
class JobCancelled(JobEnded):
    """A job was cancelled, or did not run because of one that it needs."""


@final
class WaitTimeout(ClientError, TimeoutError):
    """A job is not over after the time that was given for it; it goes on."""


_BY_CODE: dict[str, type[ClientError]] = {
    "invalid_spec": SpecProblems,
    "key_reused": KeyReused,
    "never_fits": Refused,
    "invalid_rows": InvalidRows,
    "not_finite": InvalidRows,
}
_BY_STATUS: dict[int, type[ClientError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Changed,
    413: TooLarge,
    415: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def of_response(response: httpx.Response) -> ClientError:
    """The error that an answer is, its body read. What is no problem document is told by its status."""
    status = response.status_code
    try:
        document: Any = json.loads(response.content)
    except ValueError:
        document = None
    if not isinstance(document, Mapping) or not isinstance(document.get("code"), str):
        kind = _BY_STATUS.get(status, ServerFault if status >= 500 else NoService)
        where = f"{response.request.method} {response.request.url.copy_with(query=None)}"
        return kind(f"{where} was answered with {status} {response.reason_phrase}", status=status)
    code = document["code"]
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, ServerFault if status >= 500 else ClientError)
    request_id = str(document.get("request_id", ""))
    detail = str(document.get("detail", "")) or response.reason_phrase
    if kind is ServerFault:
        detail = f"{detail} (request {request_id})"
    return kind(
        detail, status=status, code=code, problems=_problems(document.get("errors")), request_id=request_id
    )


def _problems(found: Any) -> list[Problem]:
    items = found if isinstance(found, list) else []
    return [_problem(item) for item in items if isinstance(item, Mapping)]


def _problem(item: Mapping[str, Any]) -> Problem:
    from closegap.specs.problems import (
        dotted,
    )  # of what a spec is read with, which a command that fails does not need

    pointer = str(item.get("pointer", ""))
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    path = dotted(tuple(int(part) if part.isdecimal() else part for part in parts))
    place = path if pointer.startswith("/") else pointer
    return Problem(
        place, pointer, item.get("value"), str(item.get("message", "")), str(item.get("accepted", ""))
    )


def _words(problem: Problem) -> str:
    return f"{problem.message}; accepted: {problem.accepted}" if problem.accepted else problem.message
