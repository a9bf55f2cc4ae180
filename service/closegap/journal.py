"""What a process of closegap says: one JSON object a line, or columns and colours where a person reads.

Every line has `time` (UTC, ISO 8601), `level` and `event`; and, where they are known, `logger`, `job`, `attempt`,
`rank`, `trial`, `project`, `kind`, `request_id`, `trace_id`, `exception` (the traceback as text) and `exception_type`.
Ours and those of libraries go the same way, and none leaves with a secret in it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, TextIO, final

import structlog

if TYPE_CHECKING:
    from closegap.settings import Settings

Format = Literal["auto", "json", "console"]
Record = MutableMapping[str, Any]
_PATTERNS = (
    (re.compile(r"(?<=://)[^\s/@\"']*@"), "***@"),  # user and password of a URL
    (re.compile(r"(cg_[0-9a-f]{12})_[A-Za-z0-9_-]{43}"), r"\1_***"),  # a token of the API; its id may be told
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s,;\"']{8,}"), r"\1 ***"),
    # also as the end of a name, such as MLFLOW_TRACKING_PASSWORD, and in quotes
    (
        re.compile(r"(?i)(password|passwd|secret|api_key|access_key)([\"']?\s*[=:]\s*[\"']?)[^\s,;&\"']+"),
        r"\1\2***",
    ),
)
_FIRST = ("time", "level", "event", "logger", "job", "attempt", "rank", "trial")


@final
class Redaction:
    """Takes secrets out of text: those it is given, and whatever looks like one."""

    def __init__(self, *secrets: str) -> None:
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 4)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def all(self, value: Any) -> Any:
        """The same in every text of a JSON-able value; whatever is none becomes text."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self(str(name)): self.all(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.all(item) for item in value]
        return value if value is None or isinstance(value, bool | int | float) else self(str(value))


def redaction(settings: Settings) -> Redaction:
    """Of what a process with these settings knows."""
    url = settings.redis_url.get_secret_value() if settings.redis_url is not None else ""
    password = re.search(r"://[^:@]*:(.+)@", url)
    return Redaction(url, password[1] if password else "")


def now() -> str:
    """The time of a line."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encoded(record: Mapping[str, Any], redact: Redaction) -> str:
    """A record as a line, without its end."""
    known = {name: record[name] for name in _FIRST if name in record}
    return json.dumps(redact.all({**known, **record}), ensure_ascii=False, separators=(",", ":"))


def exception_fields(error: BaseException) -> dict[str, str]:
    """Of a record about an exception. A traceback shows lines of code, never the values in them."""
    return {
        "exception_type": type(error).__name__,
        "exception": "".join(traceback.format_exception(error)).rstrip(),
    }


def begin(settings: Settings | None = None, output: TextIO | None = None, level: int = logging.INFO) -> None:
    """For the whole process: lines of ours and of libraries, on standard error unless said.

    level: the least of libraries' that is told; ours are told from INFO on.
    """
    stream = sys.stderr if output is None else output
    form = settings.log_format if settings is not None else "auto"
    people = form == "console" or (form == "auto" and stream.isatty())
    redact = redaction(settings) if settings is not None else Redaction()
    render = _console(stream) if people else _lines(redact)
    shared: tuple[Any, ...] = (
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _stamp,
        _exception,
        _redacting(redact),
    )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("closegap").setLevel(logging.INFO)


@final
class Handler(logging.Handler):
    """Passes log records of the standard library on as records of ours."""

    def __init__(self, write: Callable[[Record], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """As `logging.Handler`'s."""
        try:
            self._write(_of_library(record))
        except Exception:
            self.handleError(record)


def _of_library(record: logging.LogRecord) -> Record:
    return {
        "time": now(),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
        **_exception_of(record),
    }


def _exception_of(record: logging.LogRecord) -> dict[str, str]:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        return exception_fields(error)
    if not record.exc_text:
        return {}
    # Another handler, such as one of Ray's, has put the text in place of the exception.
    last = record.exc_text.strip().rpartition("\n")[2]
    kind = last.partition(":")[0].rpartition(".")[2]
    return {"exception_type": kind, "exception": record.exc_text.rstrip()}


@final
class Lines:
    """A text stream for libraries that print: each whole line becomes a record. In place of stdout or stderr."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, name: str, write: Callable[[Record], None], descriptor: int) -> None:
        """descriptor: for whoever writes past Python."""
        self.name, self._write, self._descriptor = name, write, descriptor
        self._begun = ""

    def write(self, text: str) -> int:
        """As a text stream's. A carriage return is a line's end, too: progress bars know no other."""
        *lines, self._begun = re.split(r"\r\n|\r|\n", self._begun + text)
        for line in lines:
            self._say(line)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """As a text stream's."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing: a line is written when it is whole, and the rest by `close`."""

    def close(self) -> None:
        """Say what was begun."""
        begun, self._begun = self._begun, ""
        self._say(begun)

    def fileno(self) -> int:
        """Where what is written past Python goes."""
        return self._descriptor

    def isatty(self) -> bool:
        """It is none."""
        return False

    def writable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is not."""
        return False

    @property
    def closed(self) -> bool:
        """Never."""
        return False

    def _say(self, line: str) -> None:
        if line.strip():
            self._write({"time": now(), "level": "info", "event": line.rstrip(), "logger": self.name})


def uncaught(
    write: Callable[[Record], None],
) -> Callable[[type[BaseException], BaseException | None, TracebackType | None], None]:
    """For `sys.excepthook`: what ends a process is a record as well."""

    def hook(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        error = kind() if error is None else error
        said = {"time": now(), "level": "critical", "event": f"uncaught {kind.__name__}: {error}"}
        write({**said, "logger": "closegap", **exception_fields(error)})

    return hook


# --- processors -------------------------------------------------------------------------------------------


def _stamp(logger: Any, method: str, record: Record) -> Record:
    record["time"] = now()
    return record


def _exception(logger: Any, method: str, record: Record) -> Record:
    given = record.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    return {**record, **exception_fields(error)} if isinstance(error, BaseException) else record


def _redacting(redact: Redaction) -> Callable[[Any, str, Record], Record]:
    def apply(logger: Any, method: str, record: Record) -> Record:
        return {name: value if name.startswith("_") else redact.all(value) for name, value in record.items()}

    return apply


def _lines(redact: Redaction) -> Callable[[Any, str, Record], str]:
    return lambda logger, method, record: encoded(record, redact)


def _console(stream: IO[str]) -> Any:
    return structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="time")
