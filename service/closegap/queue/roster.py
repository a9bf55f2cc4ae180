"""Who works, and for whom: the workers that were heard of, and what projects hold and may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from closegap.errors import Conflict, NotFound
from closegap.job import Capacity, Project, Worker
from closegap.queue import fleet, quota
from closegap.queue.part import Part, milliseconds
from closegap.specs.references import PROJECT, PROJECT_WORDS
from closegap.store.store import speaking

PREEMPTION_SECONDS = 1.0
"""Least time between two preemptions."""
SILENT_SECONDS = 10.0
"""A worker that was not heard of for so long counts neither as idle nor as one to take a job from."""


class Roster(Part):
    """Workers and projects."""

    def projects(self, names: Iterable[str] | None = None) -> list[Project]:
        """What each holds and may hold: these, or all that have a job or a limit."""
        return quota.read(self._client, self._root, names)

    def limit(self, project: str, running: int | None, gpus: float | None) -> Project:
        """What a project's jobs may hold at most, together; None is without limit. Raises Conflict."""
        if not re.fullmatch(PROJECT, project) or not all(
            0 <= (most or 0) < math.inf for most in (running, gpus)
        ):
            raise Conflict(
                f"running {running}, gpus {gpus} is no limit of `{project}`; accepted: {PROJECT_WORDS}; ≥ 0"
            )
        self._run("limit", project, "" if running is None else running, "" if gpus is None else gpus)
        return self.projects([project])[0]

    def heartbeat(self, worker: str, capacity: Capacity) -> str:
        """Say that a worker lives, and what it holds when it is idle; who has drained it, or nothing.

        With the workers' beats it is also decided who is preempted.
        """
        [drained] = self._run("heartbeat", worker, capacity.model_dump_json())
        self._run("preempt", milliseconds(PREEMPTION_SECONDS), milliseconds(SILENT_SECONDS))
        return drained

    def workers(self) -> list[Worker]:
        """Every worker that has been heard of and was not forgotten."""
        return fleet.workers(self._client, self._root)

    def drain(self, worker: str, now: bool = False, actor: str = "user") -> Worker:
        """Let a worker claim nothing more; `now`: give back, with a checkpoint, what it runs. Raises NotFound."""
        return self._of_worker("drain", worker, actor, "now" if now else "")

    def undrain(self, worker: str) -> Worker:
        """Let it claim again. Raises NotFound."""
        return self._of_worker("undrain", worker)

    def _of_worker(self, script: str, identifier: str, *arguments: str) -> Worker:
        """Run a script on a worker, given by name or the beginning of one; the worker as it is afterwards."""
        names = [worker.id for worker in self.workers()]
        found = [name for name in names if name == identifier] or [
            name for name in names if name.startswith(identifier)
        ]
        if len(found) != 1:
            raise NotFound(f"there is no one worker `{identifier}`; there are: {', '.join(names) or 'none'}")
        self._run(script, found[0], *arguments)
        return next(worker for worker in self.workers() if worker.id == found[0])

    def forget(self, worker: str) -> None:
        """A worker has gone for good."""
        with speaking(self._client), self._client.pipeline() as pipe:
            pipe.hdel(f"{self._root}:workers", worker)
            pipe.hdel(f"{self._root}:drained", worker)
            pipe.execute()
