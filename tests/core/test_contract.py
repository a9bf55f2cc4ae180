"""What every combination of inference method, start, encoding, update, likelihood, levels and networks keeps.

All of them (`crossed`): shapes, whom the gradient reaches, no row depends on its batch, a saved model is the model.
Every pair of choices, or every choice (`covering`): an interrupted training, the trained folder, the exported file.
"""

from __future__ import annotations

import itertools
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from closegap_core import bundle, checkpoint, seeds
from closegap_core.config import TrainConfig
from closegap_core.config.encoder import encoders_of
from closegap_core.curriculum import objective
from closegap_core.data import Dataset, Part
from closegap_core.data.counts import dense_counts
from closegap_core.errors import ExportError
from closegap_core.export.encoder import build
from closegap_core.export.recorded import FixedNoise
from closegap_core.fit import EpochMetrics, Stopped, finish, fit
from closegap_core.inference.base import Noise
from closegap_core.inference.draws import DRAWS
from closegap_core.model import Model
from closegap_core.objective import Objective
from closegap_core.posterior import Posterior
from closegap_core.trained import read_trained
from tests.core.combinations import (
    DEPTHS,
    LATENT,
    MLP,
    SHAPE,
    Choice,
    Refusal,
    axes,
    config_of,
    covering,
    crossed,
    drawn,
    methods,
    missing,
    refusals,
    said,
)

WIDTH, ROWS, SAMPLES = math.prod(SHAPE), 3, 2
END = 9.0
"""Epochs done, after which no schedule changes any more."""
PARTS = 4
EXPORTED = ("standard", "ladder", "iterative", "hybrid", "semi_amortized")
THROUGH = ("semi_amortized", "ladder")
"""Methods whose theta learns through inference too. Under batch normalisation it learns at the batch's own q."""


@contextmanager
def about(choice: Choice) -> Iterator[None]:
    """Say of which combination a failure is."""
    try:
        yield
    except BaseException as error:
        error.add_note(said(choice))
        raise


def model_of(config: TrainConfig, dtype: torch.dtype = torch.float64) -> Model:
    """A model away from its initial values, so that nothing vanishes by symmetry."""
    model = Model(config, WIDTH, dtype, shape=SHAPE)
    model.prepare(dense_counts(np.ones((3, WIDTH), np.float32)))
    for i, shape in enumerate((*model.theta.shapes, *model.phi.shapes)):
        if shape.learned:
            drawn = seeds.normal(shape.size, dtype, 7, i)
            model.parameters()[shape.name].add_(drawn, alpha=0.2)
            model.parameters()[shape.name].mul_(
                0.4
            )  # else raw gradients run away: nothing passes a clipped variance
    return model


def rows_of(config: TrainConfig, seed: int = 3) -> Tensor:
    x = torch.rand(ROWS, WIDTH, generator=seeds.generator(seed), dtype=torch.float64)
    return (6 * x).floor() + 1 if config.model.likelihood.kind == "multinomial" else x


def noise_of(model: Model, rows: slice = slice(None)) -> Noise:
    """The same at every iteration, so that who learns where need not be known here; pairs if the model wants them."""
    draw = seeds.normal((SAMPLES, ROWS, model.noise_width), torch.float64, 11)[:, rows]
    related = DRAWS[model.config.inference.draws](draw)
    return lambda t: related


def assert_equal(found: Posterior, expected: Posterior, within: float = 0.0) -> None:
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=within, atol=within)


# --- all of them ----------------------------------------------------------------------------------------


def gives_a_posterior_a_row(model: Model, x: Tensor) -> Posterior:
    """The last of them."""
    walk = list(model.posteriors(x, noise_of(model)))
    assert len(walk) == model.method.iterations + 1
    for q in walk:
        for part in q:
            assert part.shape == (ROWS, LATENT)
            assert part.isfinite().all()
            assert not part.requires_grad
    bound = model.bound(x, walk[-1], noise_of(model)(0))
    assert bound.log_likelihood.shape == bound.kl.shape == (ROWS,)
    return walk[-1]


def depends_on_no_other_row(model: Model, x: Tensor, q: Posterior) -> None:
    only = slice(1, 2)
    alone = model.infer(x[only], noise_of(model, only))
    assert_equal(alone, Posterior(*(part[only] for part in q)), within=1e-9)


def taught(config: TrainConfig) -> Objective:
    """What is learned from once schedules are over; bits that are free would let no gradient through."""
    return objective(config, END)._replace(free_bits=0.0)


def without_effect(config: TrainConfig) -> set[str]:
    """Parameters that cannot change the bound: a bias that all words share shifts every logit of a softmax."""
    shared = (
        config.model.likelihood.kind == "multinomial" and config.model.levels[0].decoder.kind == "convolution"
    )
    return {"decoder.1.image.0.bias"} if shared else set()


def is_reached(config: TrainConfig, gradient: Tensor) -> bool:
    """Everywhere; normalised over a batch, what all its few rows share has no effect, such as the sign of a signal."""
    reached = gradient != 0
    return bool(reached.any() if config.batch_norm else reached.all())


def teaches_whom_it_should(model: Model, x: Tensor, q: Posterior) -> None:
    online = getattr(model.config.inference, "online", False)
    before = {name: value.clone() for name, value in model.parameters().items()}
    step = (lambda: None) if online else None
    bound = model.learn(x, noise_of(model), 1.0, taught(model.config), step=step)
    assert bound.elbo.shape == (ROWS,)
    assert not bound.elbo.requires_grad
    for flat in (model.theta, model.phi):
        for shape in flat.shapes:
            gradient = flat.grads[shape.name]
            assert gradient.isfinite().all(), shape.name
            if shape.name in without_effect(model.config):
                by_differences = getattr(model.config.inference, "differentiate", "exact") != "exact"
                within = 1e-7 if by_differences else 1e-12
                torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0.0, atol=within)
            elif shape.learned:
                assert is_reached(model.config, gradient), f"no gradient reaches {shape.name}: {gradient}"
                assert torch.equal(model.parameters()[shape.name], before[shape.name])
            else:
                assert not gradient.any(), f"{shape.name} is not learned"
    through = getattr(model.config.inference, "backprop_through_iterations", False)
    if not (through or model.config.inference.method in THROUGH or model.config.batch_norm):
        teaches_the_decoder_at(q, model, x)


def goal_at(q: Posterior, model: Model, theta: dict[str, Tensor], x: Tensor, draw: Tensor) -> Tensor:
    """What each row's theta learns from, (B,)."""
    method, generative, phi = model.method, model.generative, model.phi.views
    if taught(model.config).importance_weighted:
        weights = method.log_weights(generative, theta, phi, x, q, draw)
        return weights.logsumexp(0) - math.log(SAMPLES)
    return method.bound(generative, theta, phi, x, q, draw).elbo


def teaches_the_decoder_at(q: Posterior, model: Model, x: Tensor) -> None:
    """theta's gradient is that of the bound at the last q, and nothing of how q was reached."""
    noise = noise_of(model)
    theta = {name: value.detach().clone().requires_grad_() for name, value in model.theta.views.items()}
    goal = goal_at(q, model, theta, x, noise(0)).sum()
    for name, want in zip(theta, torch.autograd.grad(goal, list(theta.values())), strict=True):
        torch.testing.assert_close(model.theta.grads[name], want, rtol=1e-8, atol=1e-10, msg=name)


def is_what_was_saved(model: Model, x: Tensor, q: Posterior, path: Path) -> None:
    model.save(path)
    again = Model.load(model.config, WIDTH, path, torch.float64, SHAPE)
    assert_equal(again.infer(x, noise_of(model)), q)


def is_refused(choice: Choice, expected: list[Refusal]) -> None:
    """With the reason; of several one, for the first that is found ends the look."""
    with pytest.raises(ValidationError) as caught:
        config_of(choice)
    assert any(re.search(refusal.message, str(caught.value)) for refusal in expected), str(caught.value)


def check(choice: Choice, path: Path) -> None:
    """The contract of one combination, or its refusal."""
    if expected := refusals(choice):
        is_refused(choice, expected)
        return
    config = config_of(choice)
    model, x = model_of(config), rows_of(config)
    q = gives_a_posterior_a_row(model, x)
    depends_on_no_other_row(model, x, q)
    is_what_was_saved(model, x, q, path)
    teaches_whom_it_should(model, x, q)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("method", methods())
def test_every_combination_keeps_the_contract(method: str, depth: str, tmp_path: Path) -> None:
    found = [choice for choice in crossed(method) if choice["model.depth"] == depth]
    for choice in found:
        with about(choice):
            check(choice, tmp_path / "weights.safetensors")
    assert len({choice["model.likelihood"]["kind"] for choice in found}) == 4


@pytest.mark.parametrize("method", methods())
def test_what_does_not_go_together_is_refused_with_its_reason(method: str) -> None:
    for choice in drawn(method, 2000):
        with about(choice):
            if expected := refusals(choice):
                is_refused(choice, expected)
            else:
                config_of(choice)


# --- every choice -----------------------------------------------------------------------------------------


def dataset_of(likelihood: str) -> Dataset:
    """Rows of 4 x 4 that a model can learn something of."""
    generator = np.random.default_rng(0)
    grey = np.clip(generator.random((20, WIDTH)) * (0.2 + generator.random((20, 1))), 0.01, 0.99)
    stored: Any = {"dequantised": np.floor(grey * 220), "multinomial": np.floor(grey * 6) + 1}
    rows = stored.get(likelihood, grey).astype(np.float32)
    parts = [rows[:12], rows[12:16], rows[16:]]
    if likelihood == "multinomial":
        parts = [dense_counts(part) for part in parts]
    train, valid, test = (Part(part, np.arange(len(part))) for part in parts)
    return Dataset("tiny", SHAPE, train, valid, test, "0" * 64, likelihood == "bernoulli")


def run(config: TrainConfig, dataset: Dataset, folder: Path, stop_at: int = -1) -> list[Any]:
    """Train; the epochs without their seconds."""
    steps = itertools.count(1)
    events = list(fit(config, dataset, folder, stop=lambda: next(steps) == stop_at))
    assert isinstance(events[-1], Stopped) == (stop_at > 0)
    return [event._replace(seconds=0.0) for event in events if isinstance(event, EpochMetrics)]


def learns_on_as_if_never_stopped(config: TrainConfig, dataset: Dataset, folder: Path) -> None:
    whole = run(config, dataset, folder / "whole")
    assert run(config, dataset, folder / "parts", stop_at=4) + run(config, dataset, folder / "parts") == whole
    first, second = (checkpoint.newest(folder / name) for name in ("whole", "parts"))
    assert first is not None
    assert second is not None
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert torch.equal(second.tensors[name], tensor), name


def is_in_its_folder(config: TrainConfig, dataset: Dataset, folder: Path) -> None:
    model = folder / "model"
    model.mkdir()
    finish(config, dataset, folder / "whole", model)
    bundle.write(model, "model", {})
    trained = read_trained(model)
    assert trained.config == config
    found = checkpoint.newest(folder / "whole")
    assert found is not None
    best = "best." if config.training.keep == "best" else ""
    assert torch.equal(trained.model.theta.data, found.tensors[f"{best}theta"])
    assert torch.equal(trained.model.phi.data, found.tensors[f"{best}phi"])


def is_exported_or_says_why_not(config: TrainConfig) -> None:
    """The file, whose noise is taken as it is given; the model relates its own as `inference.draws` says."""
    model = model_of(config, torch.float32)
    drawn, for_elbo = (seeds.normal((4, 1, model.noise_width), torch.float32, 13, i) for i in range(2))
    related, refiner = DRAWS[config.inference.draws](drawn), getattr(config.inference, "refiner", None)
    steps = DRAWS["independent" if refiner is None else refiner.draws](related)[None]
    noise = FixedNoise(related.numpy(), for_elbo.numpy(), steps.numpy())
    if config.inference.method not in EXPORTED:
        with pytest.raises(ExportError, match=f"'{config.inference.method}' .*; accepted: standard"):
            build(model, noise, 2)
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    file = onnxruntime.InferenceSession(build(model, noise, 2).SerializeToString(), options)
    x = torch.cat([rows_of(config, seed) for seed in range(9)]).float()
    mean, log_var, elbo = (torch.from_numpy(found) for found in file.run(None, {"x": x.numpy()}))
    q = model.infer(x, lambda t: drawn)
    bound = model.bound(x, q, for_elbo)
    pairs = ((mean, q.mean), (log_var, q.log_var), (elbo[:, None], bound.elbo[:, None]))
    for found, expected in pairs:
        error = ((found - expected).abs() / (1 + expected.abs())).amax(-1)
        assert float(error.median()) < (1e-3 if sees_rounding(config) else 1e-4), error


def sees_rounding(config: TrainConfig) -> bool:
    """Whether errors at the prior are zero but for rounding, for pairs cancel, and layers scale that up by 1e5."""
    layered = any(
        "error" in encoder.encoded and getattr(encoder, "normalise", None) == "layer"
        for _, encoder in encoders_of(config.inference)
    )
    return layered and config.inference.draws != "independent"


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("method", methods())
def test_every_choice_resumes_and_is_exported(method: str, part: int, tmp_path: Path) -> None:
    for choice in covering(method)[part::PARTS]:
        config, folder = config_of(choice), tmp_path / "run"
        dataset = dataset_of(config.model.likelihood.kind)
        folder.mkdir()
        with about(choice):
            learns_on_as_if_never_stopped(config, dataset, folder)
            is_in_its_folder(config, dataset, folder)
            is_exported_or_says_why_not(config)
        shutil.rmtree(folder)


@pytest.mark.parametrize("method", methods())
def test_only_what_is_always_refused_is_not_covered(method: str) -> None:
    for name, values in missing(method).items():
        chosen = [choice for choice in drawn(method, 2000) if choice[name] in values]
        assert all(refusals(choice) for choice in chosen), (name, values)


@pytest.mark.parametrize("refiner", ["rmsprop", "adam"])
def test_what_has_no_gradient_yet_can_be_differentiated_through(refiner: str) -> None:
    """While the KL weighs nothing, the level above has no gradient: its root mean square is exactly zero."""
    [choice] = [
        choice | {"model.depth": "two levels", "model.decoder": MLP}
        for choice in itertools.islice(covering("semi_amortized"), 1)
    ]
    [kind] = [value for value in axes("semi_amortized")["inference.refiner"] if value["kind"] == refiner]
    model = model_of(config_of({**choice, "inference.refiner": kind}))
    model.learn(rows_of(model.config), noise_of(model), 1.0, Objective(kl_weight=0.0))
    assert model.phi.grad.isfinite().all()
    assert model.theta.grad.isfinite().all()
