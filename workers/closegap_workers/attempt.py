"""One attempt, in a process of its own: an order on stdin, events and the outcome on stdout, all else on stderr.

It knows neither the queue nor the store, so it can do nothing to a job that it no longer owns: what it publishes is
named by its content, and the supervisor, after looking at the lease, registers and records it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from closegap import spec as specs
from closegap.artifacts import ArtifactStore
from closegap.kinds import Spec
from closegap.registry import Registry
from closegap.settings import Settings
from closegap_core import bundle
from closegap_workers.channel import Event, Stream
from closegap_workers.outcome import failure_of
from closegap_workers.process import die_with_parent
from closegap_workers.runners import Context, Result, runner
from closegap_workers.work_folder import taken_over

log = logging.getLogger("closegap.attempt")


def attempt(order: Mapping[str, Any]) -> int:
    """Body of `python -m closegap_workers attempt`; exit status 0 whenever an outcome was said."""
    die_with_parent(signal.SIGKILL, order["parent"])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=_log_format(order), force=True)
    stream = Stream(_take_stdout())
    stream.listen()
    stream.put({"type": "outcome", **_outcome(order, stream)})
    return 0


def _log_format(order: Mapping[str, Any]) -> str:
    """Each line names the job, the attempt, and the request that submitted it, where there was one."""
    whose = [order["job"], f"attempt {order['attempt']}", order["request_id"]]
    words = " ".join(word for word in whose if word).replace("%", "%%")
    return f"%(asctime)s [{words}] %(name)s %(message)s"


def _take_stdout() -> Any:
    """The only way to the supervisor; what libraries print goes to the log instead."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return output


def _outcome(order: Mapping[str, Any], stream: Stream) -> Event:
    try:
        with ExitStack() as stages:
            settings = Settings.load()
            store = ArtifactStore(settings.storage)
            spec = specs.resolve(specs.load(order["spec"]), order["inputs"])
            context = Context(
                job=order["job"],
                attempt=order["attempt"],
                spec=spec,
                roots=settings.data_roots,
                work=taken_over(store.work(order["work"]), order["fence"]),
                home=settings.home,
                stage=lambda: stages.enter_context(store.staged(order["job"], order["attempt"])),
                registry=Registry(store, order["project"]),
                stream=stream,
                ray_address=settings.ray_address,
            )
            result = runner(spec.kind).run(context)
            if result is None:
                return {"state": "stopped"}
            return {"state": "succeeded", "outputs": _publish(result, store), "register": _wanted_name(spec)}
    except Exception as error:
        log.exception("the attempt failed")
        return {"state": "failed", "failure": failure_of(error).model_dump(mode="json")}


def _publish(result: Result, store: ArtifactStore) -> dict[str, Any]:
    """Seal and publish each product; the outputs, with the digest of each."""
    outputs = dict(result.outputs)
    for name, product in result.products.items():
        bundle.write(product.folder, product.kind, product.lineage)
        outputs[name] = store.publish(product.folder)
        if product.path_output is not None:
            outputs[product.path_output] = str(store.open(outputs[name]).path)
    return outputs


def _wanted_name(spec: Spec) -> str | None:
    name: str | None = getattr(spec, "register_as", None)
    return name
