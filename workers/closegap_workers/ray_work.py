"""A runner's `work` inside a Ray process: the same function as inline, with a mailbox for its channel."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from closegap.errors import ServiceError
from closegap_core.errors import CoreError
from closegap_workers.channel import Channel
from closegap_workers.outcome import failure_of
from closegap_workers.ray_channel import Remote
from closegap_workers.runners import Task, runner

if TYPE_CHECKING:
    from closegap_core.group import Group

log = logging.getLogger("closegap.ray")


def perform(kind: str, task: Task, remote: Remote, channel: Channel, group: Group) -> Task | None:
    """Do the work; None when it stopped or failed.

    A failure on purpose (wrong data, a bound that is not finite) goes into the mailbox instead of being raised:
    Ray would start the work again, and it would only happen again. The other ranks of the group then find their
    connections closed; whoever meets that asks the mailbox whether it is the cause.
    """
    try:
        answer = runner(kind).work(task, channel, group)
    except (ConnectionError, TimeoutError):
        raise  # another attempt of Ray's may find the connection again
    except (CoreError, ServiceError, OSError) as error:
        log.exception("the work failed")
        remote.fail(failure_of(error).model_dump(mode="json"))
        _leave(group)
        return None
    except RuntimeError:
        _leave(group)
        if remote.failure() is None:
            raise
        return None
    remote.flush()
    return answer


def _leave(group: Group) -> None:
    """Close this rank's connections: the others would wait for it in their next sum."""
    if group.size > 1:
        from torch import distributed

        distributed.destroy_process_group()
