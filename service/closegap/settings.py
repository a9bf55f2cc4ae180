"""Settings of a process: the only place that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, final

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from closegap.errors import SettingsError

_Kind = TypeVar("_Kind", bound=BaseSettings)


@final
class Settings(BaseSettings):
    """Each field is read from `CLOSEGAP_<FIELD>`; paths are made absolute once, here."""

    model_config = SettingsConfigDict(
        env_prefix="CLOSEGAP_", frozen=True, extra="forbid", populate_by_name=True
    )

    home: Path = Field(
        Path("closegap-data"), description="Folder of the embedded store and, by default, of results."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="redis://, rediss:// or unix:// of a Redis >= 7 or Valkey; absent: the embedded store.",
    )
    storage: str = Field("", description="URL of the storage root; absent: file://<home>/storage.")
    data_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (Path("."),),
        description=f"Folders to read data from, separated by `{os.pathsep}`; absent: the current one.",
    )
    namespace: str = Field(
        "closegap", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="First part of every key."
    )
    lease_seconds: float = Field(
        30.0, gt=0, le=3600, description="A worker that is silent so long loses its job."
    )
    grace_seconds: float = Field(
        30.0, ge=0, le=3600, description="Time that a cancelled attempt has for a checkpoint."
    )
    backoff_seconds: float = Field(
        2.0, ge=0, le=3600, description="Wait before a first retry; doubles each time."
    )
    ray_address: str | None = Field(
        None,
        validation_alias=AliasChoices("ray_address", "CLOSEGAP_RAY_ADDRESS", "RAY_ADDRESS"),
        description="Address of a Ray cluster; absent: a local one. `RAY_ADDRESS` is read too.",
    )

    api_host: str = Field(
        "127.0.0.1",
        min_length=1,
        max_length=253,
        description="Address that the API listens at; any but this machine's own needs TLS in front of it.",
    )
    api_port: int = Field(8421, ge=0, le=65_535, description="Port of the API; 0 is any free one.")
    api_rate: float = Field(200.0, gt=0, le=1e6, description="Requests a second of one token.")
    api_streams: int = Field(100, ge=1, le=1000, description="Event streams of one token at a time.")
    api_beat_seconds: float = Field(
        15.0, ge=0.05, le=300, description="A stream that is silent so long gets a comment, to be kept open."
    )
    api_encode_rows: int = Field(4096, ge=1, le=1 << 20, description="Rows of one online encoding.")

    metrics_projects: int = Field(
        20, ge=0, le=1000, description="Projects that have series of their own in /metrics; the rest are one."
    )

    log_format: Literal["auto", "json", "console"] = Field(
        "auto",
        description="Of what processes say: JSON lines, or columns for people; auto: by terminal or not.",
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        validation_alias=AliasChoices(
            "otlp_endpoint", "CLOSEGAP_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
        ),
        description="Where spans are exported to by OTLP over HTTP (base URL); absent: nowhere. Needs the extra "
        "`trace`. `OTEL_EXPORTER_OTLP_ENDPOINT` is read too, and OTEL_EXPORTER_OTLP_HEADERS by the exporter.",
    )
    tensorboard: bool = Field(True, description="Whether trainings write event files for TensorBoard.")
    mlflow_uri: str | None = Field(
        None,
        description="Where trainings are recorded as runs of MLflow: http://, https://, file:///, sqlite:///; "
        "absent: nowhere. Needs the extra `mlflow`; user and password by MLFLOW_TRACKING_USERNAME, …_PASSWORD.",
    )
    mlflow_experiment: str = Field(
        "closegap", min_length=1, max_length=200, description="Name of their experiment."
    )
    debug: bool = Field(False, description="Show a traceback with an unexpected error.")

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment; keyword arguments that are not None win over it. Raises SettingsError."""
        return _loaded(cls, overrides)

    @field_validator("data_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: Any) -> Any:
        return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("mlflow_uri")
    @classmethod
    def _is_a_place_of_runs(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, _, rest = value.partition("://")
        if scheme not in ("http", "https", "file", "sqlite") or not rest:
            raise ValueError("it is no such URI; accepted: http://, https://, file:///PATH, sqlite:///PATH")
        if "@" in rest.partition("/")[0]:
            raise ValueError(
                "it holds a user or password; give them by MLFLOW_TRACKING_USERNAME and …_PASSWORD"
            )
        return value

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, values: Any) -> Any:
        # `CLOSEGAP_REDIS_URL= closegap up` means "no URL", as every shell user expects.
        return (
            {name: value for name, value in values.items() if value != ""}
            if isinstance(values, dict)
            else values
        )

    @model_validator(mode="after")
    def _make_absolute(self) -> Self:
        home = self.home.expanduser().absolute()
        object.__setattr__(self, "home", home)
        object.__setattr__(self, "storage", self.storage or (home / "storage").as_uri())
        object.__setattr__(self, "data_roots", tuple(root.expanduser().resolve() for root in self.data_roots))
        return self


@final
class ClientSettings(BaseSettings):
    """What says which service is asked, and as whom; the rest is in a file (`closegap.access.contexts`)."""

    model_config = SettingsConfigDict(
        env_prefix="CLOSEGAP_", frozen=True, extra="forbid", populate_by_name=True
    )

    url: str | None = Field(None, description="Of a service; it is asked instead of any context's.")
    token: SecretStr | None = Field(None, description="For the service; it wins over a context's.")
    context: str | None = Field(None, description="Name of a context, or `local`: this machine's store.")
    project: str | None = Field(None, description="Where jobs are submitted to and models looked up.")
    config_home: Path = Field(
        Path("~/.config"),
        validation_alias=AliasChoices("config_home", "XDG_CONFIG_HOME"),
        description="Folder that holds `closegap/config.toml`.",
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """As `Settings.load`. Raises SettingsError."""
        return _loaded(cls, overrides)

    @field_validator("url", "token", "context", "project", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("config_home", mode="before")
    @classmethod
    def _must_be_absolute(cls, value: Any) -> Any:
        # By the XDG specification a path that is not absolute is to be ignored, as is an empty one.
        return value if Path(value).is_absolute() else cls.model_fields["config_home"].default

    @property
    def contexts_file(self) -> Path:
        """Where contexts are kept."""
        return self.config_home.expanduser() / "closegap" / "config.toml"


def _loaded(kind: type[_Kind], overrides: dict[str, Any]) -> _Kind:
    try:
        return kind(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = [_line(problem["loc"], problem["msg"]) for problem in error.errors()]
        raise SettingsError("\n".join(["settings are not valid:", *lines])) from error


def _line(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else "settings"
    return f"  CLOSEGAP_{name.removeprefix('CLOSEGAP_').upper()}: {message}"


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment for a child, with `changes`; None removes a variable.

    A user's token for a service is for no child: attempts run with what a worker was given.
    """
    kept = {name: value for name, value in os.environ.items() if name not in {*changes, "CLOSEGAP_TOKEN"}}
    return kept | {name: value for name, value in changes.items() if value is not None}
