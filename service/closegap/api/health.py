"""Whether the process lives, whether it can work, and what Prometheus is told."""

from __future__ import annotations

from typing import Literal, final

from fastapi import APIRouter, Response
from pydantic import BaseModel

from closegap.api.context import Ctx
from closegap.api.documents import answers
from closegap.api.identity import Scraper
from closegap.api.measures import MEDIA_TYPE
from closegap.store.store import speaking

router = APIRouter(tags=["health"])


@final
class Alive(BaseModel):
    """It is."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", responses={200: {"content": {"application/json": {"example": {"status": "ok"}}}}})
async def healthz() -> Alive:
    """The process answers. Needs no token, says nothing more."""
    return Alive()


@router.get(
    "/readyz",
    responses={key: value for key, value in answers(example={"status": "ok"}).items() if key in (200, 503)},
)
def readyz(context: Ctx) -> Alive:
    """The store answers, too; 503 where it does not. Needs no token."""
    with speaking(context.client):
        context.client.ping()
    return Alive()


@router.get(
    "/metrics",
    response_class=Response,
    responses=answers()
    | {
        200: {
            "description": "Prometheus text.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "closegap_store_up 1.0\n"}},
        }
    },
)
def metrics(context: Ctx, caller: Scraper) -> Response:
    """For Prometheus, which sends a viewer's token (`authorization` in its configuration).

    While the store is away, whoever could read this in the last ten minutes still can: it says that it is away.
    """
    return Response(context.measures.exposition(), media_type=MEDIA_TYPE)
