"""What the service answers, typed. Records of jobs, events, workers and projects are the service's own classes; those
of the registry are not, for they come with all that a bundle needs, which a client does not.

These name what the client reads; a newer service may send more, which `connection.read` passes over. A test keeps them
to what the API gives.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field

from closegap.access.token import Token
from closegap.job import Event, Job, Project, State, Worker
from closegap.queue.entry import Entry


class Document(BaseModel):
    """Base: values that do not change."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# --- jobs ---------------------------------------------------------------------------------------------------


@final
class Waiting(Document):
    """Why a job waits. `place`: 1 is next; None when it is in no line."""

    place: int | None
    reason: str
    unblocked_by: str


@final
class JobPage(Document):
    """Some jobs, and the cursor of those that follow."""

    jobs: tuple[Job, ...]
    waiting: dict[str, Waiting] = Field(default_factory=dict)
    next_cursor: str | None = None


@final
class CancelledJobs(Document):
    """State by id, of the jobs that were cancelled or are wished to be."""

    jobs: dict[str, State]


@final
class EventPage(Document):
    """Some events, oldest first; `next`: the id to go on from; `over`: nothing follows."""

    events: tuple[Event, ...]
    next: str
    over: bool


@final
class Planned(Document):
    """One job, as it would be: resources, what it waits for, and seconds where a measured rate is known."""

    spec: dict[str, Any]
    digest: str
    cpus: float
    gpus: float
    needs: tuple[str, ...]
    state: State
    reason: str
    unblocked_by: str
    place: int | None
    ahead: int
    workers: int
    refused: str | None
    seconds: float | None
    seconds_from: str
    seconds_why: str


@final
class Plan(Document):
    """What would happen to specs that were submitted now, in their order."""

    project: str
    jobs: tuple[Planned, ...]


@final
class Normalised(Document):
    """Specs that are valid, every default written out."""

    specs: tuple[dict[str, Any], ...]


# --- what jobs measure and leave ----------------------------------------------------------------------------


@final
class Series(Document):
    """One curve: (x, y) points of the value `name` in events of type `event`, over what `x` names; y None: not finite.

    `count`: how many the service has, of which `points` may be a part that keeps the extremes.
    """

    name: str
    event: str
    x: str
    points: tuple[tuple[float, float | None], ...]
    count: int


@final
class SeriesList(Document):
    """Every curve of a job."""

    series: tuple[Series, ...]


@final
class Trials(Document):
    """Trials of a sweep by number, and of all of them the completed one with the highest validation ELBO."""

    trials: tuple[dict[str, Any], ...]
    best: dict[str, Any] | None = None
    count: int = 0
    next_cursor: str | None = None


@final
class File(Document):
    """A file of a bundle."""

    name: str
    bytes: int
    sha256: str
    href: str


@final
class Bundle(Document):
    """A sealed bundle: what a job has left as `output`."""

    output: str
    digest: str
    kind: str
    files: tuple[File, ...]


@final
class Bundles(Document):
    """All that a job has left."""

    artifacts: tuple[Bundle, ...]


# --- models -------------------------------------------------------------------------------------------------


@final
class Version(Document):
    """One version of a registered name."""

    name: str
    version: int
    digest: str
    job: str
    attempt: int
    created: datetime


@final
class Alias(Document):
    """A word that stands for one version of a name."""

    alias: str
    version: int
    actor: str
    updated: datetime


@final
class ModelSummary(Document):
    """A registered name: how many versions, the newest, and its aliases."""

    project: str
    name: str
    versions: int
    newest: Version
    aliases: tuple[Alias, ...]


@final
class ModelSummaries(Document):
    """Every registered name that the token may see."""

    models: tuple[ModelSummary, ...]


@final
class ModelVersions(Document):
    """A name with all its versions, oldest first."""

    project: str
    name: str
    versions: tuple[Version, ...]
    aliases: tuple[Alias, ...]


@final
class ModelVersion(Document):
    """One version: files, lineage, metrics, and whether rows can be encoded with it."""

    project: str
    name: str
    version: int
    created: datetime
    job: str
    bundle: Bundle
    lineage: dict[str, Any]
    metrics: dict[str, Any] | None
    encodes: bool
    aliases: tuple[str, ...]


@final
class EncoderFacts(Document):
    """What an exported encoder reads and gives, and how much of it the service takes at once."""

    model: str
    version: int
    digest: str
    width: int
    shape: tuple[int, ...]
    latent: int
    likelihood: str
    unit_interval: bool
    binarise: bool
    iterations: int | None
    most_rows: int
    most_values: int
    most_bytes: int


@final
class Posteriors(Document):
    """q(z|x) of some rows as JSON has it; `Encoding` has arrays."""

    model: str
    version: int
    digest: str
    mean: list[list[float]]
    log_var: list[list[float]]
    elbo: list[float]
    iterations: int


# --- the service --------------------------------------------------------------------------------------------


@final
class Whoami(Document):
    """The token that asks; `token` is empty where the service runs without authentication, `projects` None is all."""

    token: str
    name: str
    role: Literal["viewer", "submitter", "admin"]
    projects: tuple[str, ...] | None
    expires: datetime | None


@final
class Info(Document):
    """Version and limits of the service."""

    version: str
    api: str
    kinds: tuple[str, ...]
    limits: dict[str, float]


@final
class Code(Document):
    """A way into the page, good once and for so many seconds."""

    code: str
    seconds: int


@final
class Alive(Document):
    """It answers."""

    status: str


@final
class Changes(Document):
    """Changes, newest first, and the cursor of those before them."""

    entries: tuple[Entry, ...]
    next_cursor: str | None = None


@final
class Tokens(Document):
    """Every token, oldest first, revoked ones too."""

    tokens: tuple[Token, ...]


@final
class NewToken(Document):
    """A fresh token, and its secret, which is told this once."""

    token: Token
    secret: str


@final
class Workers(Document):
    """Every worker that has been heard of."""

    workers: tuple[Worker, ...]


@final
class Projects(Document):
    """Those that the token may see."""

    projects: tuple[Project, ...]
