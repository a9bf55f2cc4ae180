"""A runner's `work` inside a Ray process: the same function as inline, with a mailbox for its channel."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from closegap_workers.channel import Channel
from closegap_workers.outcome import failure_of
from closegap_workers.ray_channel import Remote
from closegap_workers.relay import relayed
from closegap_workers.runners import Task, runner
from closegap_workers.spans import traced

if TYPE_CHECKING:
    from closegap_core.group import Group

log = logging.getLogger("closegap.ray")


def perform(kind: str, task: Task, remote: Remote, channel: Channel, group: Group) -> Task | None:
    """Do the work; None when it stopped or failed.

    A failure goes into the mailbox instead of being raised: Ray would start the work again, and it would only happen
    again. What is raised is a lost connection, which is how a rank learns of the death of another: then Ray starting
    the group again is the cure, unless the other left on purpose and has told the mailbox why.
    """
    name, on = f"rank {group.rank}", bool(task.get("traced"))
    with relayed(remote, rank=group.rank), traced(channel, on, name, name, rank=group.rank) as watched:
        answer = _performed(kind, task, remote, watched, group)
    remote.flush()
    return answer


def _performed(kind: str, task: Task, remote: Remote, channel: Channel, group: Group) -> Task | None:
    try:
        answer = runner(kind).work(task, channel, group)
    except (ConnectionError, TimeoutError):
        raise
    except Exception as error:
        # torch.distributed raises a bare RuntimeError for a connection that another rank has closed.
        perhaps_by_another = group.size > 1 and isinstance(error, RuntimeError)
        if not perhaps_by_another:
            log.exception("the work failed")
            remote.fail(failure_of(error).model_dump(mode="json"))
        elif remote.failure() is None:
            raise
        _leave(group)
        return None
    return answer


def _leave(group: Group) -> None:
    """Close this rank's connections: the others would wait for it in their next sum."""
    if group.size > 1:
        from torch import distributed

        distributed.destroy_process_group()
