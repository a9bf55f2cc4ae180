"""Training: exact resume, ranks, what is refused, what is not finite."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from closegap_core.config import TrainConfig
from closegap_core.data import Dataset
from closegap_core.errors import CheckpointError, ConfigError, NumericalError
from closegap_core.feed import Feed
from closegap_core.fit import EpochMetrics, Stopped, finish, fit
from closegap_core.group import SINGLE
from closegap_core.model import Model
from closegap_core.run import Run
from closegap_core.trained import read_trained
from tests.core.training import METHODS, OPTIONS, assert_equal, config, prototypes, run, weights


@pytest.fixture
def dataset() -> Dataset:
    return prototypes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop_at", [1, 5, 7, 12])
def test_a_stopped_run_goes_on_exactly(method: str, stop_at: int, dataset: Dataset, tmp_path: Path) -> None:
    whole = run(config(method), dataset, tmp_path / "whole")
    first = run(config(method), dataset, tmp_path / "parts", stop_at=stop_at)
    assert isinstance(first[-1], Stopped)
    second = run(config(method), dataset, tmp_path / "parts")
    assert_equal(weights(tmp_path / "parts"), weights(tmp_path / "whole"))

    def learned(events: list[Any]) -> list[Any]:
        return [event._replace(seconds=0.0) for event in events if isinstance(event, EpochMetrics)]

    assert learned(first + second) == learned(whole)


def test_a_stopped_run_with_every_option_goes_on_exactly(dataset: Dataset, tmp_path: Path) -> None:
    run(config("drawn", **OPTIONS), dataset, tmp_path / "whole")
    run(config("drawn", **OPTIONS), dataset, tmp_path / "parts", stop_at=7)
    run(config("drawn", **OPTIONS), dataset, tmp_path / "parts")
    assert_equal(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_the_encoder_makes_a_step_after_each_iteration(dataset: Dataset, tmp_path: Path) -> None:
    epochs = [e for e in run(config("online"), dataset, tmp_path) if isinstance(e, EpochMetrics)]
    saved = weights(tmp_path)
    assert (int(saved["theta.step"]), int(saved["phi.step"])) == (15, 30)
    assert epochs[-1].valid["elbo"] > epochs[0].valid["elbo"]


def test_the_encoder_makes_more_steps_than_the_decoder(dataset: Dataset, tmp_path: Path) -> None:
    run(config(encoder_steps=4), dataset, tmp_path)
    saved = weights(tmp_path)
    assert (int(saved["theta.step"]), int(saved["phi.step"])) == (15, 60)


@pytest.mark.parametrize("method", ["standard", "iterative", "hybrid", "flow", "semi_amortized"])
def test_rows_simulated_from_the_model_teach_the_encoder_alone(method: str, dataset: Dataset) -> None:
    """One step: theta's gradient is the data's, phi's has that of the simulated rows beside it, times the weight."""
    weight, settings = 0.7, config(method)
    plain, helped = (
        Run(Model(at, 12), dataset, SINGLE) for at in (settings, config(method, model_samples=weight))
    )
    feed, model = Feed(settings, dataset), Model(settings, 12)
    x = feed.simulated(model, 0, 16, 0)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    model.learn(x, lambda t: feed.simulated_noise(model, 0, t, 16, 0), 1 / 16)
    for one in (plain, helped):
        one.learn()
    assert torch.equal(plain.model.theta.grad, helped.model.theta.grad)
    torch.testing.assert_close(
        helped.model.phi.grad - plain.model.phi.grad, weight * model.phi.grad, rtol=1e-4, atol=1e-6
    )
    assert float(model.phi.grad.abs().max()) > 1e-3


def test_a_new_run_without_weight_on_the_kl_lets_it_grow(dataset: Dataset, tmp_path: Path) -> None:
    def last_kl(name: str, **training: Any) -> float:
        epochs = run(config("standard", epochs=10, **training), dataset, tmp_path / name)
        return float([e for e in epochs if isinstance(e, EpochMetrics)][-1].valid["kl"])

    assert last_kl("warm", kl_warmup=1000.0) > 1.5 * last_kl("elbo")


@pytest.mark.parametrize("method", METHODS)
def test_training_raises_the_held_out_elbo(method: str, dataset: Dataset, tmp_path: Path) -> None:
    epochs = [e for e in run(config(method, epochs=30), dataset, tmp_path) if isinstance(e, EpochMetrics)]
    assert epochs[-1].valid["elbo"] > epochs[0].valid["elbo"] + 1.0
    assert epochs[-1].valid["elbo"] == pytest.approx(
        epochs[-1].valid["log_likelihood"] - epochs[-1].valid["kl"], abs=1e-9
    )


class Threads:
    """Two ranks as threads of this process: sums by a barrier, so that no process group is needed here."""

    def __init__(self, rank: int, shared: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self.shared, self.barrier = rank, len(shared), shared, barrier

    def _exchange(self, value: Any) -> list[Any]:
        self.shared[self.rank] = value
        self.barrier.wait(30)
        values = list(self.shared)
        self.barrier.wait(30)
        return values

    def sum(self, tensor: Tensor) -> None:
        tensor.copy_(torch.stack(self._exchange(tensor.clone())).sum(0))

    def any(self, flag: bool) -> bool:
        return any(self._exchange(flag))


@pytest.mark.parametrize(
    "settings",
    [config(), config("drawn", **OPTIONS), config("online", batch_size=23), config("lstm", **OPTIONS)],
    ids=["plain", "options", "online", "recurrent"],
)
def test_two_ranks_learn_what_one_learns(settings: TrainConfig, dataset: Dataset, tmp_path: Path) -> None:
    alone = run(settings, dataset, tmp_path / "one")
    shared, barrier, failures = [None, None], threading.Barrier(2), []
    results: dict[int, list[Any]] = {}

    def rank(number: int) -> None:
        try:
            results[number] = run(settings, dataset, tmp_path / "two", Threads(number, shared, barrier))
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=1e-3, atol=1e-4)
    last = [e for e in alone if isinstance(e, EpochMetrics)][-1]
    for number in range(2):
        other = [e for e in results[number] if isinstance(e, EpochMetrics)][-1]
        assert other.valid["elbo"] == pytest.approx(last.valid["elbo"], abs=1e-3)
        assert other.train["elbo"] == pytest.approx(last.train["elbo"], abs=1e-3)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_finish_writes_the_kept_weights(keep: str, dataset: Dataset, tmp_path: Path) -> None:
    # A rate this high makes the last epoch worse than the best.
    chosen = config(keep=keep, learning_rate=0.3, epochs=6)
    epochs = [e for e in run(chosen, dataset, tmp_path / "c") if isinstance(e, EpochMetrics)]
    elbos = [epoch.valid["elbo"] for epoch in epochs]
    assert elbos.index(max(elbos)) != len(elbos) - 1, "choose another rate: best and last coincide"
    (tmp_path / "m").mkdir()
    summary = finish(chosen, dataset, tmp_path / "c", tmp_path / "m")
    assert summary["valid_elbo"] == (max(elbos) if keep == "best" else elbos[-1])
    trained = read_trained(tmp_path / "m")
    saved = weights(tmp_path / "c")
    assert torch.equal(trained.model.theta.data, saved["best.theta" if keep == "best" else "theta"])
    assert [entry["epoch"] for entry in trained.metrics["history"]] == list(range(1, 7))


def test_a_run_on_the_importance_weighted_bound_goes_on_exactly_and_keeps_its_best(
    dataset: Dataset, tmp_path: Path
) -> None:
    settings = config("sampled", objective="iwae", kl_warmup=0.5, epochs=6, learning_rate=0.1)
    epochs = [e for e in run(settings, dataset, tmp_path / "whole") if isinstance(e, EpochMetrics)]
    run(settings, dataset, tmp_path / "parts", stop_at=17)
    run(settings, dataset, tmp_path / "parts")
    assert_equal(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    bounds = [epoch.valid["iwae"] for epoch in epochs]
    assert all(epoch.valid["iwae"] > epoch.valid["elbo"] for epoch in epochs)
    summary = finish(settings, dataset, tmp_path / "whole", tmp_path)
    assert summary["kept_epoch"] == 1 + bounds.index(max(bounds))


@pytest.fixture
def trained(dataset: Dataset, tmp_path: Path) -> Path:
    """A trained standard model's folder."""
    folder = tmp_path / "trained"
    folder.mkdir()
    run(config("standard"), dataset, tmp_path / "first")
    finish(config("standard"), dataset, tmp_path / "first", folder)
    return folder


@pytest.mark.parametrize("method", ["standard", "online", "flow"])
def test_an_encoder_learns_for_a_decoder_that_is_kept(
    method: str, dataset: Dataset, trained: Path, tmp_path: Path
) -> None:
    kept = read_trained(trained).model.theta.data
    drawn = Model(config(method), 12).phi.data
    list(fit(config(method), dataset, tmp_path / "whole", decoder=trained))
    asked = iter(range(1, 100))
    list(fit(config(method), dataset, tmp_path / "parts", stop=lambda: next(asked) == 7, decoder=trained))
    list(fit(config(method), dataset, tmp_path / "parts", decoder=trained))
    found = weights(tmp_path / "parts")
    assert_equal(found, weights(tmp_path / "whole"))
    assert torch.equal(found["theta"], kept)
    assert not torch.equal(found["phi"], drawn)
    (tmp_path / "m").mkdir()
    finish(config(method), dataset, tmp_path / "parts", tmp_path / "m", decoder=trained)
    assert torch.equal(read_trained(tmp_path / "m").model.theta.data, kept)


def test_a_decoder_of_another_model_is_refused(dataset: Dataset, trained: Path, tmp_path: Path) -> None:
    other = config("standard")
    levels = (other.model.levels[0].model_copy(update={"latent": 4}),)
    other = other.model_copy(update={"model": other.model.model_copy(update={"levels": levels})})
    with pytest.raises(ConfigError, match="the decoder's generative model is not the one to be trained"):
        list(fit(other, dataset, tmp_path / "c", decoder=trained))
    list(fit(config("standard"), dataset, tmp_path / "c"))
    with pytest.raises(CheckpointError, match="of another decoder"):
        list(fit(config("standard"), dataset, tmp_path / "c", decoder=trained))


def test_an_unfinished_run_cannot_be_finished(dataset: Dataset, tmp_path: Path) -> None:
    run(config(), dataset, tmp_path, stop_at=3)
    with pytest.raises(CheckpointError, match="step 3 of 15"):
        finish(config(), dataset, tmp_path, tmp_path)


def test_a_batch_larger_than_the_data_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size is 71, but there are only 70"):
        run(config(batch_size=71), dataset, tmp_path)
    assert not list(tmp_path.iterdir())


def test_statistics_of_a_batch_are_not_shared_by_ranks(dataset: Dataset, tmp_path: Path) -> None:
    two = Threads(0, [None, None], threading.Barrier(2))
    with pytest.raises(ConfigError, match=r"batch_norm.*but there are 2 ranks; ask for one"):
        run(config("batch_norm"), dataset, tmp_path, two)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="torch sees none here"):
        list(fit(config(), dataset, tmp_path, device=torch.device("cuda")))
    assert not list(tmp_path.iterdir())


def test_a_gradient_that_is_not_finite_keeps_the_last_good_checkpoint(
    dataset: Dataset, tmp_path: Path
) -> None:
    run(config(), dataset, tmp_path, stop_at=5)
    before = weights(tmp_path)
    dataset.train.rows[:] = np.nan
    bad = Dataset(**{**dataset.__dict__, "binarise": False})
    with pytest.raises(
        NumericalError, match=r"gradient of theta is not finite at step 6 \(epoch 2\)"
    ) as caught:
        run(config(), bad, tmp_path)
    assert "first that of decoder.1.0.weight" in str(caught.value)
    assert "the log-likelihood of 16 of 16 rows is not finite" in str(caught.value)
    assert "the KL of 16 of 16 rows is not finite" in str(caught.value)
    assert_equal(weights(tmp_path), before)


@pytest.mark.parametrize(
    "options", [{}, {"model_samples": 1.0, "encoder_steps": 2}], ids=["plain", "options"]
)
@pytest.mark.parametrize("method", METHODS)
def test_whatever_learns_stops_before_a_step_that_is_not_finite(
    method: str, options: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    if options and method in ("svi", "online", "batch_norm"):
        options = {}  # they have no encoder, one that makes its own steps, or one with statistics of the data
    run(config(method, **options), dataset, tmp_path, stop_at=5)
    before = weights(tmp_path)
    dataset.train.rows[:] = np.nan
    bad = Dataset(**{**dataset.__dict__, "binarise": False})
    with pytest.raises(NumericalError, match=r"is not finite at step 6 \(epoch 2\): first that of \w+"):
        run(config(method, **options), bad, tmp_path)
    assert_equal(weights(tmp_path), before)


def test_a_validation_bound_that_is_not_finite_ends_the_run_at_the_checkpoint_before(
    dataset: Dataset, tmp_path: Path
) -> None:
    run(config(), dataset, tmp_path, stop_at=5)
    before = weights(tmp_path)
    dataset.valid.rows[3] = np.nan
    bad = Dataset(**{**dataset.__dict__, "binarise": False})
    with pytest.raises(NumericalError, match="validation ELBO is not finite after epoch 2"):
        run(config(), bad, tmp_path)
    assert_equal(weights(tmp_path), before)
