"""The captured step: what a replay computes is the step, and nothing in it waits for the host.

No machine of ours has a GPU. What a CUDA graph does is done here by `Tape`: the operators of one step, with the very
memory and numbers that they had, run again. And on torch's `meta` device, whose tensors have no values, whatever needs
one on the host fails.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from closegap_core import seeds
from closegap_core.captured import Captured, learner_of
from closegap_core.config import TrainConfig
from closegap_core.data import Dataset, Part
from closegap_core.errors import NumericalError
from closegap_core.feed import Piece
from closegap_core.fit import EpochMetrics, finish, fit
from closegap_core.group import SINGLE, Group
from closegap_core.learner import Eager, Plan, Turn
from closegap_core.model import Model
from closegap_core.objective import ELBO, Objective
from closegap_core.recorder import Recorder
from closegap_core.run import Run
from tests.core.test_host import ONE, TWO, WAITS, Seen
from tests.core.training import METHODS, OPTIONS, assert_equal, config, prototypes, weights

CHANCE = {
    "rand",
    "randn",
    "normal_",
    "uniform_",
    "bernoulli",
    "bernoulli_",
    "multinomial",
    "randperm",
    "randint",
}
EXACT = {"learning_rate": 2.0**-8, "learning_rate_decay": 0.5}
"""Learning rates that single precision holds exactly: a captured step reads them so."""
WARM = {**OPTIONS, "kl_warmup": 1.6}
"""Of 5 steps an epoch: weights of the KL are multiples of 1/8, which single precision holds as well."""


IMAGES = [{"latent": 3, "decoder": {"kind": "convolution", "channels": [2]}}]
LIKELIHOODS: list[Any] = [
    "bernoulli",
    "multinomial",
    {"kind": "gaussian", "variance": "global"},
    {"kind": "gaussian", "variance": "predicted"},
    {"kind": "dequantised", "variance": "predicted"},
]


class Operator(NamedTuple):
    """One that ran: its tensors share the memory that they had."""

    function: Any
    args: Any
    kwargs: Any
    results: list[Tensor]

    def again(self) -> None:
        """Writes to the memory that it wrote to."""
        found = self.function(*self.args, **self.kwargs)
        for kept, new in zip(self.results, tree_leaves(found) if self.results else (), strict=True):
            kept.copy_(new)


class Log(TorchDispatchMode):
    """The operators that run under it, below differentiation, that do anything."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[Operator] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().split("::")[1].split(".")[0]
        assert name not in WAITS | CHANCE, name
        kept = tree_map_only(Tensor, Tensor.detach, (args, kwargs or {}))
        result = function(*args, **(kwargs or {}))
        if name.startswith(("empty", "new_empty")) or _is_view(function):
            return result
        mutable, made = function._schema.is_mutable, [r for r in tree_leaves(result) if isinstance(r, Tensor)]
        if mutable or made:
            self.operators.append(Operator(function, *kept, [] if mutable else [r.detach() for r in made]))
        return result


def _is_view(function: Any) -> bool:
    """Whether what it gives is memory that is there."""
    aliases = [returned.alias_info for returned in function._schema.returns]
    return not function._schema.is_mutable and any(alias is not None for alias in aliases)


@final
class Tape(Recorder):
    """Runs a step once, and then only its operators again: no line of Python, as a graph on a GPU."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def aside(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def move(self, buffer: Tensor, source: Tensor) -> None:
        buffer.copy_(source)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        log = Log()
        self.recorded += 1

        def replay() -> None:
            if (
                not log.operators
            ):  # what is recorded on a GPU does not run meanwhile; here it is its first replay
                with log:
                    work()
                return
            self.replayed += 1
            with torch.no_grad():
                for operator in log.operators:
                    operator.again()

        return replay


@pytest.fixture
def dataset() -> Dataset:
    return prototypes()


def captured(model: Model, group: Group, frozen: bool = False, made: list[Tape] | None = None) -> Captured:
    tape = Tape()
    if made is not None:
        made.append(tape)
    return Captured(model, group, frozen, tape)


def train(
    settings: TrainConfig, dataset: Dataset, folder: Path, stop_at: int = -1, **more: Any
) -> list[EpochMetrics]:
    asked = iter(range(1, 10_000))
    events = list(fit(settings, dataset, folder, stop=lambda: next(asked) == stop_at, **more))
    return [event._replace(seconds=0.0) for event in events if isinstance(event, EpochMetrics)]


@contextlib.contextmanager
def capturing() -> Iterator[list[Tape]]:
    """Within, `fit` captures its steps: by these recorders, one a run."""
    made: list[Tape] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("closegap_core.fit.Run", partial(Run, learner=partial(captured, made=made)))
        yield made


def assert_replays_learn_the_same(settings: TrainConfig, dataset: Dataset, folder: Path, **more: Any) -> Tape:
    """Bit for bit: weights, moments, sums and every measurement."""
    expected = train(settings, dataset, folder / "eager", **more)
    with capturing() as tapes:
        assert train(settings, dataset, folder / "captured", **more) == expected
    assert_equal(weights(folder / "captured"), weights(folder / "eager"))
    [tape] = tapes
    return tape


@pytest.mark.parametrize("method", METHODS)
def test_replays_learn_what_steps_learn(method: str, dataset: Dataset, tmp_path: Path) -> None:
    tape = assert_replays_learn_the_same(config(method, **EXACT), dataset, tmp_path)
    if method != "drawn":
        # Of 15 steps, the first of either size warms up, and the second is recorded and replayed for the first time.
        assert (tape.recorded, tape.replayed) == (2, 10 + 1)


@pytest.mark.parametrize("method", ["standard", "ladder", "drawn", "hybrid", "semi_amortized", "lstm"])
def test_with_every_option(method: str, dataset: Dataset, tmp_path: Path) -> None:
    """KL warm-up, free bits, more steps of the encoder, rows simulated from the model."""
    tape = assert_replays_learn_the_same(config(method, epochs=4, **EXACT, **WARM), dataset, tmp_path)
    assert tape.replayed >= 3


def test_while_the_weight_of_the_kl_rises(dataset: Dataset, tmp_path: Path) -> None:
    """It is read anew by each replay."""
    settings = config("standard", epochs=4, kl_warmup=4.0, **EXACT)
    tape = assert_replays_learn_the_same(settings, dataset, tmp_path)
    assert (tape.recorded, tape.replayed) == (2, 14 + 2)


@pytest.mark.parametrize("method", ["flow", "online"])
def test_a_rising_weight_of_methods_with_steps_of_their_own(
    method: str, dataset: Dataset, tmp_path: Path
) -> None:
    assert_replays_learn_the_same(config(method, epochs=4, kl_warmup=3.2, **EXACT), dataset, tmp_path)


@pytest.mark.parametrize("drawn", ["uniform", "growing"])
def test_each_number_of_iterations_has_a_recording(drawn: str, dataset: Dataset, tmp_path: Path) -> None:
    settings = config("drawn", epochs=8, **EXACT)
    inference = settings.inference.model_copy(update={"iterations_drawn": drawn})
    settings = settings.model_copy(update={"inference": inference})
    assert assert_replays_learn_the_same(settings, dataset, tmp_path).recorded > 3


def test_the_importance_weighted_bound(dataset: Dataset, tmp_path: Path) -> None:
    settings = config("sampled", objective="iwae", kl_warmup=1.6, **EXACT)
    assert_replays_learn_the_same(settings, dataset, tmp_path)


@pytest.mark.parametrize("method", ["standard", "online"])
def test_a_decoder_that_is_kept(method: str, dataset: Dataset, tmp_path: Path) -> None:
    settings = config(method, **EXACT)
    train(config("standard"), dataset, tmp_path / "first")
    (tmp_path / "decoder").mkdir()
    finish(config("standard"), dataset, tmp_path / "first", tmp_path / "decoder")
    assert_replays_learn_the_same(settings, dataset, tmp_path, decoder=tmp_path / "decoder")


def test_a_learning_rate_is_read_in_single_precision(dataset: Dataset, tmp_path: Path) -> None:
    settings = config(learning_rate=1e-3)
    train(settings, dataset, tmp_path / "eager")
    with capturing():
        train(settings, dataset, tmp_path / "captured")
    for name, value in weights(tmp_path / "eager").items():
        torch.testing.assert_close(weights(tmp_path / "captured")[name], value, rtol=1e-4, atol=1e-5)


# --- checkpoints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [1, 7, 10])
@pytest.mark.parametrize("first", ["captured", "eager"])
def test_captured_and_other_steps_go_on_from_each_others_checkpoints(
    first: str, stop_at: int, dataset: Dataset, tmp_path: Path
) -> None:
    settings = config("drawn", **EXACT, **WARM)
    whole = train(settings, dataset, tmp_path / "whole")
    kinds: list[Any] = [capturing, contextlib.nullcontext]
    found: list[EpochMetrics] = []
    for kind, stop in zip(kinds if first == "captured" else kinds[::-1], (stop_at, -1), strict=True):
        with kind():
            found += train(settings, dataset, tmp_path / "parts", stop)
    assert found == whole
    assert_equal(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_a_captured_run_goes_on_from_its_own_checkpoint(dataset: Dataset, tmp_path: Path) -> None:
    train(config(**EXACT), dataset, tmp_path / "whole")
    with capturing():
        train(config(**EXACT), dataset, tmp_path / "parts", stop_at=7)
        train(config(**EXACT), dataset, tmp_path / "parts")
    assert_equal(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_recordings_outlive_a_return_to_an_earlier_state(dataset: Dataset) -> None:
    """Weights and moments are put back where the recordings read them."""
    settings = config(**EXACT)
    run, fresh = (Run(Model(settings, 12), dataset, SINGLE, learner=captured) for _ in range(2))
    for _ in range(4):
        run.learn()
    before = run.state()
    before = before._replace(tensors={name: value.clone() for name, value in before.tensors.items()})
    for _ in range(5):
        run.learn()
    after = {name: value.clone() for name, value in run.state().tensors.items()}
    run.restore(before)
    fresh.restore(before)
    for one in (run, fresh):
        for _ in range(5):
            one.learn()
        assert_equal(dict(one.state().tensors), after)


# --- gradients that are not finite ----------------------------------------------------------------------


def spoiled(dataset: Dataset, step: int) -> Dataset:
    """One row that this step, and none before it, learns from is not a number."""
    rows = dataset.train.rows.copy()
    epoch, position = divmod(step - 1, 5)
    rows[seeds.permutation(70, 5, seeds.ORDER, epoch)[position * 16].item()] = np.nan
    train = Part(rows, dataset.train.ids)
    return Dataset(**{**dataset.__dict__, "binarise": False, "train": train})


@pytest.mark.parametrize("method", ["standard", "online", "semi_amortized"])
@pytest.mark.parametrize("position", [1, 2, 3, 5])
def test_the_step_is_named_when_the_epoch_ends_and_the_checkpoint_kept(
    method: str, position: int, dataset: Dataset, tmp_path: Path
) -> None:
    settings = config(method, **EXACT)
    said = rf"the gradient of (theta and )?phi is not finite at step {5 + position} \(epoch 2\), found after step 10"
    with capturing():
        train(settings, dataset, tmp_path, stop_at=5)
        before = weights(tmp_path)
        with pytest.raises(NumericalError, match=said):
            train(settings, spoiled(dataset, 5 + position), tmp_path)
    assert_equal(weights(tmp_path), before)


def test_the_step_is_named_when_the_run_is_stopped(dataset: Dataset, tmp_path: Path) -> None:
    with capturing():
        train(config(**EXACT), dataset, tmp_path, stop_at=5)
        before = weights(tmp_path)
        with pytest.raises(NumericalError, match=r"at step 7 \(epoch 2\), found after step 9"):
            train(config(**EXACT), spoiled(dataset, 7), tmp_path, stop_at=4)
    assert_equal(weights(tmp_path), before)


def test_only_the_gradient_that_was_first_is_named(dataset: Dataset) -> None:
    """A simulated row spoils phi's alone; phi then spoils theta's."""
    run = Run(Model(config("standard", model_samples=1.0), 12), dataset, SINGLE, learner=captured)
    for step in range(4):
        batch = run.feed.batch(step)
        fed = run.feed.serve(run.model, step, batch, slice(0, 16))
        spoil = 0.0 if step < 2 else torch.nan
        turn = Turn(step, 0, 1e-3, lambda p, f=fed, s=spoil: f(p) + s if p.kind == "simulated rows" else f(p))
        run.learner.learn(Plan(16, 16, ELBO, None), turn)
        if step == 1:
            run.learner.verify()
    assert not bool(run.model.theta.data.isfinite().all())
    with pytest.raises(
        NumericalError, match=r"the gradient of phi is not finite at step 3 \(epoch 1\), found"
    ):
        run.learner.verify()


# --- nothing waits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"drawn"}))
def test_a_replayed_step_does_not_wait(method: str, dataset: Dataset) -> None:
    """From the batch to the end of the step, whether it warms up, is recorded or is replayed.

    Numbers of iterations are drawn by a generator of the host, where they can be read without waiting.
    """
    run = Run(Model(config(method), 12), dataset, SINGLE, learner=captured)
    for _ in range(4):
        with Seen() as seen:
            run.learn()
        assert "_fused_adam_" in seen.names
        assert not seen.names & WAITS


def test_steps_that_are_not_captured_wait(dataset: Dataset) -> None:
    run = Run(Model(config("standard"), 12), dataset, SINGLE)
    with Seen() as seen:
        run.learn()
    assert seen.names & WAITS


META = torch.device("meta")


class Nowhere(TorchDispatchMode):
    """Runs operators on tensors without values; counts them, and the tensors of the host that they take."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.moves = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, tensors = function.name(), tree_leaves((args, kwargs or {}))
        where = {tensor.device.type for tensor in tensors if isinstance(tensor, Tensor)}
        if name == "aten::copy_" and where == {"meta", "cpu"}:
            assert args[0].device == META  # to the device, never from it
            self.moves += 1
        elif name != "aten::lift_fresh":  # a number that the host makes a tensor of, to be moved
            assert where <= {"meta"}, name
            self.operators += 1
        # The optimizer's kernel alone knows no such tensors.
        return None if "_fused_adam_" in name else function(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [{}, WARM], ids=["plain", "options"])
@pytest.mark.parametrize("method", METHODS)
def test_no_operator_of_a_step_needs_a_value_on_the_host(
    method: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor mixes devices: inputs are moved, each once a step, and nothing else is."""
    if options and method in ("svi", "online", "batch_norm", "flow"):
        options = {"kl_warmup": 1.6}  # what else there is does not go with them
    adam = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(adam, "_get_fused_kernels_supported_devices", lambda: ["meta"])
    settings = config(method, **options)
    model = Model(settings, 12, device=META)
    objective = Objective(0.5, settings.training.free_bits) if options else ELBO
    learner, read = captured(model, SINGLE), list[Piece]()

    def fed(piece: Piece) -> Tensor:
        read.append(piece)
        rows = (16, 12) if "rows" in piece.kind else (16, model.noise_width)
        return torch.empty(rows if "rows" in piece.kind else (settings.inference.samples, *rows))

    for step in range(3):
        with Nowhere() as nowhere:
            learner.learn(Plan(16, 16, objective, None), Turn(step, 0, 1e-3, fed))
        assert len(set(read)) == len(read)
        assert nowhere.moves == len(read) + objective.warming
        assert nowhere.operators > 50
        read.clear()


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=str)
def test_no_likelihood_needs_a_value_on_the_host(likelihood: Any) -> None:
    """Of one level and of two, with convolutions and without."""
    for levels in (ONE, TWO, IMAGES):
        value = {"likelihood": likelihood, "levels": levels}
        settings = TrainConfig.model_validate(
            {"data": {"source": "digits"}, "model": value, "inference": {"method": "iterative"}}
        )
        model = Model(settings, 16, device=META, shape=(4, 4))
        with Nowhere() as nowhere:
            model.learn(
                torch.empty(3, 16, device=META),
                lambda t, z=model.noise_width: torch.empty(2, 3, z, device=META),
                1.0,
            )
        assert nowhere.moves == 0
        assert nowhere.operators > 50


# --- where -----------------------------------------------------------------------------------------------


def test_without_a_gpu_steps_are_not_captured(dataset: Dataset) -> None:
    model = Model(config(), 12)
    assert isinstance(learner_of(model, SINGLE, frozen=False), Eager)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("options", [{}, WARM], ids=["plain", "options"])
@pytest.mark.parametrize("method", METHODS)
def test_graphs_learn_what_steps_learn(
    method: str, options: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    """Runs on a GPU alone, as the rest of this file cannot."""
    if options and method in ("svi", "online", "batch_norm", "flow"):
        options = {"kl_warmup": 1.6}
    settings, found = config(method, **EXACT, **options), list[dict[str, Tensor]]()
    for learner in (learner_of, Eager):
        run = Run(Model(settings, 12, device=torch.device("cuda")), dataset, SINGLE, learner=learner)
        while run.step < run.total:
            run.learn()
            if run.step % run.steps_per_epoch == 0:
                run.close_epoch()
        found.append(dict(run.state().tensors))
    for name, value in found[1].items():
        torch.testing.assert_close(found[0][name], value, rtol=1e-3, atol=1e-4, msg=name)
