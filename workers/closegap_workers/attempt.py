"""One attempt, in a process of its own: an order on stdin, events and the outcome on stdout, all else on stderr.

It knows neither the queue nor the store, so it can do nothing to a job that it no longer owns: what it publishes is
named by its content, and the supervisor, after looking at the lease, registers and records it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from closegap.journal import Redaction
from closegap.settings import Settings
from closegap.specs import spec as specs
from closegap.specs.kinds import Spec
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap.trace import Span
from closegap_core import bundle
from closegap_workers.channel import Event, Stream
from closegap_workers.logs import open_log, record_of
from closegap_workers.outcome import failure_of
from closegap_workers.performance import performed
from closegap_workers.process import die_with_parent
from closegap_workers.runners import Context, Result
from closegap_workers.spans import traced
from closegap_workers.work_folder import logs_of, taken_over

log = logging.getLogger("closegap.attempt")


def attempt(order: Mapping[str, Any]) -> int:
    """Body of `python -m closegap_workers attempt`; exit status 0 whenever an outcome was said."""
    die_with_parent(signal.SIGKILL, order["parent"])
    output = _take_stdout()
    written = open_log(Path(order["log"]), Redaction(), **whose(order))
    stream = Stream(output, lambda event: written.write(event.get("record") or record_of(event)))
    stream.listen()
    stream.put({"type": "outcome", **_outcome(order, stream)})
    return 0


def whose(order: Mapping[str, Any]) -> dict[str, Any]:
    """What each line of an attempt's log names."""
    names = ("job", "attempt", "project", "kind", "request_id")
    span = Span.parse(order["traceparent"])
    known = {name: order[name] for name in names if order[name]}
    return known if span is None else {**known, "trace_id": span.trace}


def _take_stdout() -> Any:
    """The only way to the supervisor; what libraries write past Python goes where the worker reads it."""
    # A file's name may be bytes that are no text: they must not keep an outcome from being told.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)
    return output


def _outcome(order: Mapping[str, Any], stream: Stream) -> Event:
    context: Context | None = None
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
                logs=logs_of(store.work(order["work"])),
                home=settings.home,
                stage=lambda: stages.enter_context(store.staged(order["job"], order["attempt"])),
                registry=Registry(store, order["project"]),
                stream=stream,
                ray_address=settings.ray_address,
                whose=whose(order),
                traced=order["traced"],
                tensorboard=settings.tensorboard,
                mlflow=_mlflow(settings),
            )
            log.info("attempt %d of a job of kind %s begins", order["attempt"], spec.kind)
            result = performed(context)
            if result is None:
                log.info("it stops at its checkpoint, as it was asked to")
                return {"state": "stopped"}
            with traced(stream, order["traced"], "publish"):
                outputs = _publish(result, store)
            _end_runs(context, result, outputs)
            log.info("it succeeded, and left %s", ", ".join(outputs) or "nothing")
            return {"state": "succeeded", "outputs": outputs, "register": _wanted_name(spec)}
    except Exception as error:
        log.exception("the attempt failed")
        if context is not None:
            _end_runs(context)  # until another attempt goes on with them
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


def _mlflow(settings: Settings) -> dict[str, str]:
    if settings.mlflow_uri is None:
        return {}
    return {"uri": settings.mlflow_uri, "experiment": settings.mlflow_experiment}


def _end_runs(
    context: Context, result: Result | None = None, outputs: Mapping[str, Any] | None = None
) -> None:
    """Tell each MLflow run of the job how it ended, and the one whose model the job leaves where that lies.

    Without a result all have failed. Where MLflow cannot be told, the log says so.
    """
    files = sorted((context.logs / "mlflow").glob("*.json")) if context.mlflow else []
    if not files:
        return
    from closegap_workers.mlflow_run import link
    from closegap_workers.runners.train import run_file

    tags = {f"closegap.output.{name}": _text(value) for name, value in (outputs or {}).items()}
    kept = None if result is None else run_file(context.logs, result.trial)
    try:
        for file in files:
            failed = result is None or file.stem in result.failed
            link(
                context.mlflow["uri"], file, tags if file == kept else {}, "FAILED" if failed else "FINISHED"
            )
    except Exception as error:
        log.warning("MLflow was not told of the result: %s: %s", type(error).__name__, error)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _wanted_name(spec: Spec) -> str | None:
    name: str | None = getattr(spec, "register_as", None)
    return name
