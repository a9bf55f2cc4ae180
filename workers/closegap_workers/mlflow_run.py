"""A training as a run of MLflow's: parameters, metrics an epoch, tags, and where its model lies.

Where runs go is the operator's setting, never a spec's text. MLflow is spoken with by a thread of its own: a tracking
server that is slow or away costs a training nothing but the record.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from closegap_core.durable import write_bytes
from closegap_workers.channel import Event
from closegap_workers.recorder import Recorder, Say, scalars

CLOSE_SECONDS = 30.0
"""How long the end of a training waits for the record to be whole."""
_LONGEST = 500
"""Characters of a parameter: the oldest servers take no more."""
_AT_ONCE = 100


@final
class MlflowRun(Recorder):
    """One run. order: {uri, experiment, name, file (which keeps the run's id), tags, config}."""

    name = "MLflow"

    def __init__(self, order: Mapping[str, Any], say: Say) -> None:
        self._order, self._say = order, say
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._thread = threading.Thread(target=self._record, name="mlflow", daemon=True)
        self._thread.start()

    def epoch(self, event: Event) -> None:
        self._events.put(event)

    def close(self) -> None:
        self._events.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._say(f"MLflow has not taken the last epochs within {CLOSE_SECONDS:g} s")

    def _record(self) -> None:
        try:
            client = client_of(self._order["uri"])
            run = _begun(client, self._order)
            last = _last_steps(client, run)
            while (event := self._events.get()) is not None:
                step: int = event["step"]
                fresh = {name: value for name, value in scalars(event).items() if step > last.get(name, -1)}
                _log(client, run, step, fresh)
                last |= dict.fromkeys(fresh, step)
        except Exception as error:
            self._say(f"MLflow records nothing more: {type(error).__name__}: {error}")


def client_of(uri: str) -> Any:
    """MLflow's client. Raises what MLflow raises; ImportError without the extra `mlflow`."""
    try:
        from mlflow import MlflowClient
        from mlflow import environment_variables as variables
    except ImportError as error:
        raise ImportError(
            "CLOSEGAP_MLFLOW_URI is set, but MLflow is not installed: pip install 'closegap[mlflow]'"
        ) from error
    settings: list[tuple[Any, Any]] = [
        (variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES, 2),  # seven, with waits that double, are minutes
        (variables.MLFLOW_HTTP_REQUEST_TIMEOUT, 10),
    ]
    if uri.startswith("file:"):
        # MLflow asks whether one means it; the setting says so.
        settings.append((variables.MLFLOW_ALLOW_FILE_STORE, True))
    for variable, value in settings:
        if not variable.is_set():
            variable.set(value)
    return MlflowClient(tracking_uri=uri)


def link(uri: str, file: Path, tags: Mapping[str, str], state: str) -> None:
    """Tag the run whose id a file keeps, with where its result lies, and end it. Raises what MLflow raises."""
    run = json.loads(file.read_text())["run"]
    client = client_of(uri)
    for name, value in tags.items():
        client.set_tag(run, name, value)
    client.set_terminated(run, state)


def _begun(client: Any, order: Mapping[str, Any]) -> str:
    """The id of an earlier attempt's run, or of a new one, with its parameters."""
    file = Path(order["file"])
    if file.exists():
        run: str = json.loads(file.read_text())["run"]
    else:
        experiment = _experiment(client, order["experiment"])
        run = client.create_run(experiment, run_name=order["name"], tags=order["tags"]).info.run_id
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, json.dumps({"run": run}).encode())
    from mlflow.entities import Param

    # Also of an earlier run, whose attempt may have died before them: the same value twice is once.
    flat = [Param(name, text[:_LONGEST]) for name, text in _flat(order["config"])]
    for first in range(0, len(flat), _AT_ONCE):
        client.log_batch(run, params=flat[first : first + _AT_ONCE])
    return run


def _experiment(client: Any, name: str) -> str:
    """Its id; it is made where there is none, unless another trial is quicker."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            made: str = client.create_experiment(name)
            return made
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    known: str = found.experiment_id
    return known


def _last_steps(client: Any, run: str) -> dict[str, int]:
    """Metric → the last step that the run has of it.

    Asked of the run itself: a note beside it could be older than what an attempt had recorded when it was killed, and
    a batch may have been cut between two of its metrics.
    """
    names = client.get_run(run).data.metrics
    return {name: max(metric.step for metric in client.get_metric_history(run, name)) for name in names}


def _log(client: Any, run: str, step: int, values: Mapping[str, float]) -> None:
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    client.log_batch(run, metrics=[Metric(name, value, now, step) for name, value in values.items()])


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Leaves of a configuration by their dotted names."""
    if isinstance(value, Mapping):
        return [
            leaf for key, item in value.items() for leaf in _flat(item, f"{name}.{key}" if name else str(key))
        ]
    return [(name, value if isinstance(value, str) else json.dumps(value))]
