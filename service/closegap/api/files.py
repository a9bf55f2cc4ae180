"""Files of sealed bundles: what there is, and its bytes. Only what a manifest names can be had."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, BinaryIO, final

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from closegap.api.context import Context, Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Viewer
from closegap.api.sessions import opened
from closegap.api.span import BYTES, Part, Span, Wanted
from closegap.errors import NotFound
from closegap.job import Job
from closegap_core.bundle import Bundle

_BLOCK = 1 << 18
_BUNDLES = ("model", "report", "sweep", "encoding", "comparison")
"""Outputs that are digests of bundles."""
FileName = Annotated[
    str, Path(alias="file", max_length=500, description="As the listing names it.", examples=["metrics.json"])
]
OutputName = Annotated[str, Path(alias="output", pattern="^[a-z_]{1,50}$", examples=["model"])]
router = APIRouter(tags=["artifacts"])


@final
class File(BaseModel):
    """A file of a bundle."""

    name: str
    bytes: int
    sha256: str
    href: str


@final
class Artifact(BaseModel):
    """A sealed bundle."""

    output: str = Field(description="By which name the job's spec language knows it: `${job.model}`.")
    digest: str
    kind: str
    files: list[File]


@final
class Artifacts(BaseModel):
    """What a job has left."""

    artifacts: list[Artifact]


EXAMPLE_FILE = {
    "name": "metrics.json",
    "bytes": 5120,
    "sha256": "9f2c" * 16,
    "href": "/v1/jobs/train-7f3a91c2/artifacts/model/metrics.json",
}


@router.get(
    "/v1/jobs/{job}/artifacts",
    responses=answers(
        404,
        409,
        example={
            "artifacts": [
                {
                    "output": "model",
                    "digest": "sha256:" + "9f2c" * 16,
                    "kind": "model",
                    "files": [EXAMPLE_FILE],
                }
            ]
        },
    ),
)
def artifacts(job: JobName, context: Ctx, caller: Viewer) -> Artifacts:
    """The bundles that a job has left, with the digest of each file."""
    found = context.queue.get(job, caller.projects)
    return Artifacts(
        artifacts=[
            artifact(_bundle(context, found, output), output, f"/v1/jobs/{found.id}/artifacts/{output}")
            for output in _BUNDLES
            if output in found.outputs
        ]
    )


@router.get(
    "/v1/jobs/{job}/artifacts/{output}/{file:path}",
    response_class=StreamingResponse,
    response_model=None,
    responses=answers(404, 409, 416) | BYTES,
)
def download(
    job: JobName, output: OutputName, file: FileName, context: Ctx, caller: Viewer, part: Part
) -> StreamingResponse:
    """One file of a bundle, or a range of it, to be saved: never shown in the browser as a page of this service."""
    return sent(_bundle(context, context.queue.get(job, caller.projects), output), file, part)


def artifact(bundle: Bundle, output: str, base: str) -> Artifact:
    """A bundle's listing; its files lie under `base`."""
    files = [
        File(name=name, bytes=facts.bytes, sha256=facts.sha256, href=f"{base}/{name}")
        for name, facts in bundle.files.items()
    ]
    return Artifact(output=output, digest=bundle.digest, kind=bundle.kind, files=files)


def sent(bundle: Bundle, name: str, part: Wanted) -> StreamingResponse:
    """A file's bytes, or those of a range.

    Raises NotFound (the manifest names no such file), BundleError (a link, another size), Answer 416.
    """
    if name not in bundle.files:
        raise NotFound(f"the bundle has no file `{name[:100]}`; it has {', '.join(bundle.files)}")
    facts = bundle.files[name]
    tag = f'"{facts.sha256}"'
    span = part.of(tag, facts.bytes)
    base = name.rpartition("/")[2]
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in base)
    headers = {"Content-Disposition": f'attachment; filename="{plain}"', "ETag": tag, **span.headers}
    return _Download(os.fdopen(opened(bundle, name), "rb"), span, headers)


@final
class _Download(StreamingResponse):
    """The bytes of an open file, which it closes however it ends: a client may hang up before the first of them."""

    def __init__(self, stream: BinaryIO, span: Span, headers: Mapping[str, str]) -> None:
        super().__init__(_blocks(stream, span), span.status, headers, "application/octet-stream")
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()


def _blocks(stream: BinaryIO, span: Span) -> Iterator[bytes]:
    stream.seek(span.start)
    left = span.stop - span.start
    while left > 0 and (block := stream.read(min(_BLOCK, left))):
        left -= len(block)
        yield block


def _bundle(context: Context, job: Job, output: str) -> Bundle:
    """Raises NotFound."""
    if output not in _BUNDLES or output not in job.outputs:
        have = ", ".join(name for name in _BUNDLES if name in job.outputs) or "none"
        raise NotFound(f"job {job.id} ({job.state}) has left no `{output}`; it has {have}")
    return context.artifacts.open(str(job.outputs[output]), verify=False)
