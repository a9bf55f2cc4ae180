"""After an attempt was killed: nothing of its Ray job stays in the cluster.

Ray itself ends a dead driver's actors within seconds. This waits for that, and ends processes of this machine that
are still there afterwards. It runs as a process of its own, `python -m closegap_workers ray`, for it needs Ray.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from typing import Any

import psutil

from closegap.settings import environment
from closegap_workers.cluster import Cluster

PATIENCE = 15.0
"""Seconds that Ray has for doing it by itself."""
TIMEOUT = 60.0
log = logging.getLogger("closegap.worker")


def sweep(cluster: Cluster, ray_job: str) -> None:
    """See that nothing of a Ray job is left; what is cannot fail the attempt, so it is only logged."""
    order = {"parent": os.getpid(), "do": "sweep", "address": cluster.address, "job": ray_job}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "closegap_workers", "ray"],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
            env=environment(CLOSEGAP_REDIS_URL=None, **cluster.variables()),
        )
    except (subprocess.SubprocessError, OSError) as error:
        log.warning("it is not known whether Ray job %s left something: %s", ray_job, error)
        return
    found = json.loads(done.stdout)
    if found["killed"] or found["left"]:
        log.warning(
            "Ray job %s left actors: ended %s, still there %s", ray_job, found["killed"], found["left"]
        )


def remove(address: str, ray_job: str) -> dict[str, Any]:
    """Body of the process: {"killed": process ids, "left": actors} of the Ray job. Raises what Ray raises."""
    actors = _alive(address, ray_job)
    limit = time.monotonic() + PATIENCE
    while actors and time.monotonic() < limit:
        time.sleep(0.3)
        actors = _alive(address, ray_job)
    addresses = {place.address for places in psutil.net_if_addrs().values() for place in places}
    # On another node the same number is another process.
    ours = [a for a in actors if a["Address"]["IPAddress"] in addresses and _is_of_ray(a["Pid"])]
    for actor in ours:
        os.kill(actor["Pid"], signal.SIGKILL)
    left = [actor["ActorClassName"] for actor in actors if actor not in ours]
    return {"killed": [actor["Pid"] for actor in ours], "left": left}


def _alive(address: str, ray_job: str) -> list[dict[str, Any]]:
    from ray import JobID

    from closegap_workers.cluster import state_of

    actors = state_of(address).actor_table(None, JobID.from_hex(ray_job), None).values()
    return [actor for actor in actors if actor["State"] != "DEAD"]


def _is_of_ray(pid: int) -> bool:
    """Whether the process is a Ray worker: Ray names them `ray::…`."""
    try:
        return any(part.startswith("ray::") for part in psutil.Process(pid).cmdline()[:1])
    except psutil.NoSuchProcess:
        return False
