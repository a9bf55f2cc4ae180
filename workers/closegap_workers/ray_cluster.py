"""An attempt in the Ray cluster: joins it, looks whether the request fits, and leaves nothing behind."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from closegap_workers.channel import Channel
from closegap_workers.outcome import RequestError
from closegap_workers.ray_channel import Post
from closegap_workers.runners.runner import Context

LEAVE_SECONDS = 15.0
log = logging.getLogger("closegap.ray")


@contextmanager
def joined(context: Context, bundles: int, channel: Channel | None = None) -> Iterator[Post]:
    """Join the cluster for one attempt that needs `bundles` times its spec's resources; yields its mailbox,
    which is emptied into `channel`, or else the attempt's stream.

    Raises RequestError when the cluster could never hold that, ConnectionError when there is none.
    """
    if context.ray_address is None:
        raise RequestError("no Ray cluster: RAY_ADDRESS is not set, and resources.workers is not 0")
    ray.init(
        address=context.ray_address,
        namespace=f"closegap-{context.job}",
        runtime_env=_interpreter(),
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    try:
        context.stream.listen()  # Ray has put its own handler of SIGTERM there
        context.stream.put({"type": "ray", "job": ray.get_runtime_context().get_job_id()})
        resources = context.spec.resources
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        check(nodes, bundles, resources.cpus, resources.gpus)
        with Post(channel or context.stream) as post:
            yield post
        _wait_until_left()
    finally:
        ray.shutdown()


def _interpreter() -> dict[str, str] | None:
    """Ray starts a rank by `exec <interpreter> …` in a shell, unquoted: a path with a space must come quoted."""
    quoted = shlex.quote(sys.executable)
    return None if quoted == sys.executable else {"py_executable": quoted}


def check(nodes: list[dict[str, Any]], bundles: int, cpus: float, gpus: float) -> None:
    """Whether `bundles` bundles of so many CPUs and GPUs would fit into the idle cluster. Raises RequestError.

    Ray itself would wait for ever, as new nodes might come.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    room = sum(
        min(
            int(node.get(name, 0.0) / wanted + 1e-9)
            for name, wanted in (("CPU", cpus), ("GPU", gpus))
            if wanted > 0
        )
        for node in alive
    )
    if room >= bundles:
        return
    there = (
        "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in alive) or "no node"
    )
    raise RequestError(
        f"resources ask for {bundles} x ({cpus:g} CPUs, {gpus:g} GPUs), but the Ray cluster has room for {room}; "
        f"its nodes: {there}"
    )


def _wait_until_left() -> None:
    """Actors of this attempt end on their own when the work is over; see that they did."""
    from ray._private.state import actors

    job = ray.get_runtime_context().get_job_id()
    limit = time.monotonic() + LEAVE_SECONDS
    left: list[str] = []
    while time.monotonic() < limit:
        left = [
            f"actor {actor['ActorClassName']}"
            for actor in actors().values()
            if actor["JobID"] == job and actor["State"] != "DEAD"
        ]
        if not left:
            return
        time.sleep(0.1)
    log.warning("still in the cluster after %g s, ended with this attempt's Ray job: %s", LEAVE_SECONDS, left)
