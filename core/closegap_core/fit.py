"""Training, as a generator of metrics that can be stopped anywhere and goes on exactly where it stopped.

The result depends on the configuration and the data alone, not on restarts, and on the number of ranks only by the
rounding of sums: order, binarisation and noise are functions of (seed, step), and every rank takes its own rows of
the same draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from closegap_core import checkpoint, memory, preview
from closegap_core.config import TrainConfig, canonical
from closegap_core.data import Dataset
from closegap_core.durable import file_digest
from closegap_core.errors import CheckpointError, ConfigError, NumericalError
from closegap_core.group import SINGLE, Group
from closegap_core.model import Model
from closegap_core.parameters import CPU
from closegap_core.progress import Pace, Progress
from closegap_core.run import Run
from closegap_core.trained import read_trained, write_trained


class EpochMetrics(NamedTuple):
    """One epoch: means over rows in nats. train is of the last iterate while learning, valid of fixed weights;
    kl_weight and the norms of the gradients of theta and phi are those of the last step."""

    epoch: int
    epochs: int
    step: int
    train: dict[str, float]
    valid: dict[str, Any]
    learning_rate: float
    kl_weight: float
    gradient_norm: dict[str, float]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As an event: {"type": "epoch", …}."""
        return {"type": "epoch", **self._asdict()}


class Note(NamedTuple):
    """Something a reader of the log should know."""

    line: str

    def to_dict(self) -> dict[str, Any]:
        """As an event: {"type": "log", …}."""
        return {"type": "log", "line": self.line}


class Stopped(NamedTuple):
    """Training was asked to stop; a checkpoint of this step was written."""

    step: int

    def to_dict(self) -> dict[str, Any]:
        """As an event: {"type": "stopped", …}."""
        return {"type": "stopped", "step": self.step}


def never() -> bool:
    """The stop of a run that nobody stops."""
    return False


def fit(
    config: TrainConfig,
    dataset: Dataset,
    checkpoints: Path,
    group: Group = SINGLE,
    stop: Callable[[], bool] = never,
    device: torch.device = CPU,
    decoder: Path | None = None,
    shown: Path | None = None,
) -> Iterator[Progress | EpochMetrics | Note | Stopped]:
    """Train, from the newest whole checkpoint under `checkpoints` if there is one; rank 0 writes new ones there.

    `stop` is asked after every step by every rank, so it must be cheap. decoder: folder of a trained model whose theta
    is kept as it is, so that only phi learns. shown: a file that gets a preview whenever an epoch leaves a checkpoint.
    Raises ConfigError (batch larger than the data, batch_norm of several ranks, a GPU that is not there, a decoder of
    another generative model), CheckpointError (all damaged, or of another configuration, data or decoder),
    NumericalError (a gradient is not finite: the newest checkpoint is from before), OSError (disk full).
    """
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "a GPU was asked for, but torch sees none here; install torch with CUDA, or ask for 0 GPUs"
        )
    torch.set_num_threads(config.training.threads)
    memory.keep()
    run, damaged = _resume(config, dataset, checkpoints, group, device, decoder)
    for what in damaged:
        yield Note(f"{what}; training goes on from step {run.step} instead")
    pace = Pace(run.total, "step", run.step)
    while run.step < run.total:
        run.learn()
        if (due := pace.due(run.step)) is not None:
            yield due
        if run.step % run.steps_per_epoch == 0:
            yield _close_epoch(run, checkpoints, decoder, shown)
        if run.step < run.total and group.any(stop()):
            _save(run, checkpoints, decoder)
            yield Stopped(run.step)
            return


def finish(
    config: TrainConfig, dataset: Dataset, checkpoints: Path, folder: Path, decoder: Path | None = None
) -> dict[str, Any]:
    """Write the trained model of a finished run into `folder` (unsealed); returns its summary.

    Raises CheckpointError when the run is not finished.
    """
    run, _ = _resume(config, dataset, checkpoints, SINGLE, CPU, decoder)
    if run.step < run.total:
        raise CheckpointError(f"training under {checkpoints} stands at step {run.step} of {run.total}")
    if config.training.keep == "best":
        run.model.theta.data.copy_(run.best.theta)
        run.model.phi.data.copy_(run.best.phi)
    kept = run.history[run.best.epoch if config.training.keep == "best" else -1]
    summary = {
        "epochs": len(run.history),
        "kept_epoch": kept["epoch"],
        "valid_elbo": kept["valid"]["elbo"],
        "train_elbo": kept["train"]["elbo"],
        "seconds": sum(entry["seconds"] for entry in run.history),
    }
    write_trained(folder, run.model, dataset, {"summary": summary, "history": run.history})
    _show(run, kept["epoch"], folder / preview.PREVIEW)
    return summary


def _close_epoch(run: Run, checkpoints: Path, decoder: Path | None, shown: Path | None) -> EpochMetrics:
    metrics = run.close_epoch()
    every = run.config.training.checkpoint_every
    if run.step == run.total or len(run.history) % every == 0:
        _save(run, checkpoints, decoder)
        if shown is not None and run.group.rank == 0:
            _show(run, len(run.history), shown)
    return EpochMetrics(**metrics)


def _show(run: Run, epoch: int, path: Path) -> None:
    """Write a preview of the weights as they are, those of `epoch`."""
    step = epoch * run.steps_per_epoch
    preview.write(path, preview.preview(run.model, run.valid, run.dataset.shape, epoch, step))


def _identity(config: TrainConfig, dataset: Dataset, decoder: Path | None) -> dict[str, str]:
    # How often and on how many threads one saves does not change what is learned.
    value = config.model_dump(mode="json")
    for field in ("checkpoint_every", "threads"):
        del value["training"][field]
    kept = {} if decoder is None else {"decoder": file_digest(decoder / "weights.safetensors")}
    return {"config": hashlib.sha256(canonical(value).encode()).hexdigest(), "data": dataset.digest, **kept}


def _resume(
    config: TrainConfig,
    dataset: Dataset,
    checkpoints: Path,
    group: Group,
    device: torch.device,
    decoder: Path | None,
) -> tuple[Run, tuple[str, ...]]:
    """The run where it stands, and the newer checkpoints that were passed over."""
    rows = dataset.train.rows.shape[0]
    if config.training.batch_size > rows:
        raise ConfigError(
            f"training.batch_size is {config.training.batch_size}, but there are only {rows} training rows; "
            f"give at most {rows}"
        )
    if config.batch_norm and group.size > 1:
        raise ConfigError(
            f"an encoder has batch_norm, whose statistics are of one rank's rows, but there are {group.size} ranks; "
            "ask for one, or leave batch_norm out"
        )
    model = Model(config, dataset.train.rows.shape[1], device=device, shape=dataset.shape)
    if decoder is not None:
        _take_decoder(model, decoder)
    run = Run(model, dataset, group, frozen=decoder is not None)
    found, damaged = checkpoint.find(checkpoints)
    if found is None:
        return run, damaged
    for what, digest in _identity(config, dataset, decoder).items():
        if found.state.get(what) != digest:
            raise CheckpointError(
                f"the checkpoint under {checkpoints} is of another {what}: remove it or undo the change"
            )
    run.restore(found)
    return run, damaged


def _take_decoder(model: Model, folder: Path) -> None:
    """The theta of a trained model in place of the one that was drawn. Raises ConfigError, BundleError."""
    trained = read_trained(folder, model.dtype)
    if (trained.config.model, trained.model.width) != (model.config.model, model.width):
        raise ConfigError(
            f"the decoder's generative model is not the one to be trained: it has {canonical(trained.config.model)} of "
            f"{trained.model.width} values a row, this training {canonical(model.config.model)} of {model.width}"
        )
    model.theta.data.copy_(trained.model.theta.data)


def _save(run: Run, checkpoints: Path, decoder: Path | None) -> None:
    state = run.state()  # sums over ranks: every rank takes part
    if not all(bool(flat.data.isfinite().all()) for flat in (run.model.theta, run.model.phi)):
        raise NumericalError(
            f"a weight is not finite after step {run.step}; the newest checkpoint is from before"
        )
    if run.group.rank == 0:
        saved = state._replace(state={**state.state, **_identity(run.model.config, run.dataset, decoder)})
        checkpoint.save(checkpoints, run.step, saved)
