"""The application: every router, in one place, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import Field, TypeAdapter

from closegap.api import (
    about,
    curves,
    encode,
    events,
    files,
    health,
    iterations,
    jobs,
    lineage,
    lines,
    login,
    logs,
    models,
    page,
    preview,
    problem,
    projects,
    series,
    shards,
    submissions,
    tokens,
    trials,
    workers,
)
from closegap.api.context import Context
from closegap.api.documents import PROBLEMS
from closegap.api.exchange import Exchange
from closegap.specs.kinds import Spec
from closegap.specs.pipeline import LARGEST
from closegap.specs.scales import ScaledFile
from closegap_core.config.base import Shorthand

PUBLIC = frozenset({"/healthz", "/readyz", "/openapi.json", login.REDEEM}) | page.PATHS
"""Routes without a token: that the service is there, how to speak with it, its page without data, and the way in."""
THREADS = 16
"""Requests that are worked on at a time, and so connections to the store; more wait for their turn."""
ROUTERS = (
    submissions,
    jobs,
    events,
    logs,
    series,
    trials,
    iterations,
    preview,
    curves,
    shards,
    files,
    models,
    lineage,
    encode,
    workers,
    lines,
    projects,
    tokens,
    login,
    about,
    health,
    page,
)
_SCHEMAS = "#/components/schemas/{model}"


def build(context: Context) -> FastAPI:
    """The application on these parts, which it lets go of when it ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = THREADS
        yield
        await context.close()

    app = FastAPI(
        title="closegap",
        version=version("closegap"),
        description="Train, measure, export and encode with iterative amortized inference: the job queue by HTTP.",
        docs_url=None,  # they load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        lifespan=lifespan,
    )
    app.state.context = context
    problem.install(app)
    for part in ROUTERS:
        app.include_router(part.router)
    app.add_middleware(Exchange, measures=context.measures)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's, with the specs, which are read by hand so that all their problems are told at once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            description=app.description,
            routes=app.routes,
        )
        schemas = document["components"]["schemas"]
        for name, schema in _bodies().items():
            schemas.setdefault(name, schema)
        _say_problems(document)
        app.openapi_schema = document
    return app.openapi_schema


def _bodies() -> dict[str, Any]:
    """Schemas of what routes read from the raw body."""
    one = Annotated[Spec, Field(discriminator="kind"), Shorthand("kind")]
    pipeline = Annotated[list[one], Field(min_length=1, max_length=LARGEST)]
    found: dict[str, Any] = {}
    kinds: tuple[tuple[str, Any], ...] = (
        ("Submission", one | pipeline | ScaledFile),
        ("Rows", encode.Rows),
        ("Events", events.Events),
    )
    for name, kind in kinds:
        schema = TypeAdapter[Any](kind).json_schema(by_alias=True, ref_template=_SCHEMAS)
        found |= schema.pop("$defs", {})
        found[name] = schema
    return found


def _say_problems(document: dict[str, Any]) -> None:
    """Every error is a problem document, and of no other media type."""
    for path in document["paths"].values():
        for operation in path.values():
            if "requestBody" in operation:
                for status in (400, 413):
                    answer = {"description": PROBLEMS[status], "content": {}}
                    operation["responses"].setdefault(str(status), answer)
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and "content" in answer:
                    schema = {"$ref": _SCHEMAS.format(model="ProblemDocument")}
                    answer["content"] = {problem.MEDIA_TYPE: {"schema": schema}}
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
