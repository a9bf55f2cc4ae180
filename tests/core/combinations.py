"""Configurations of tiny models, made of the choices that the configuration's own fields offer.

A field whose values can be counted (a Literal, a bool, a union of sections, blocks of which some are chosen) is an
axis: a choice that is added to the configuration is tried without a word here. `MORE` adds values of other fields.
"""

from __future__ import annotations

import itertools
import random
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from closegap_core.config import (
    AnyNetworkConfig,
    InferenceConfig,
    LikelihoodConfig,
    ModelConfig,
    TrainConfig,
    TrainingConfig,
)

SHAPE = (4, 4)
LATENT = 4
"""Of all levels together."""
TINY: dict[str, Any] = {
    "hidden": (3,),
    "channels": (2,),
    "activation": "elu",
    "connection": "highway",
    "log_var": 0.0,
}
TINY |= {"iterations": 2, "samples": 2}
"""Fields by name that always have this value: sizes, and what makes no difference to the contract."""
MLP = {"kind": "mlp", "hidden": TINY["hidden"]}
MORE: dict[str, tuple[Any, ...]] = {
    "training.kl_warmup": (0.0, 1.5),
    "training.free_bits": (0.0, 0.05),
    "training.encoder_steps": (1, 2),
    "training.model_samples": (0.0, 0.5),
}
DEPTHS: dict[str, dict[str, Any]] = {
    "one level": {"levels": [{"latent": 4}]},
    "two levels": {"levels": [{"latent": 2}, {"latent": 2}]},
    "skip": {"levels": [{"latent": 2, "units": 2}, {"latent": 2}], "skip": True},
}
CROSSED = ("inference.encode", "inference.update", "inference.normalise", "inference.refiner")
CROSSED += ("model.likelihood", "model.depth")
"""Axes whose every combination is tried, beside the method; of the others every pair."""

Choice = Mapping[str, Any]
"""A value of each axis by the axis' name."""


class Refusal(NamedTuple):
    """Combinations that the configuration does not accept, and what its message must say."""

    message: str
    holds: Callable[[Choice], bool]


def _kind(network: Any) -> str | None:
    return network["kind"] if isinstance(network, dict) else None


def _blind(choice: Choice) -> bool:
    """Whether some level's encoder, a convolution, does not see the data."""
    sees = "data" in choice.get("inference.encode", ("data",))
    below_only = choice["model.depth"] == "two levels" and choice.get("inference.encoders") is False
    return _kind(choice.get("inference.encoder")) == "convolution" and (not sees or below_only)


def _normalised(choice: Choice) -> bool:
    return bool((choice.get("inference.encoder") or {}).get("batch_norm"))


def _by_autograd(choice: Choice) -> bool:
    recurrent = _kind(choice.get("inference.encoder")) in ("lstm", "gru")
    return recurrent or _normalised(choice) or choice["inference.backprop_through_iterations"]


def _signs_of_nothing(choice: Choice) -> bool:
    """Whether an encoder is shown signs of errors that pairs of draws bring to zero but for rounding."""
    start = choice.get("inference.start") or {}
    normalise = choice.get("inference.normalise", start.get("normalise"))
    encode = choice.get("inference.encode", start.get("encode", ()))
    return choice["inference.draws"] == "antithetic" and normalise == "log_sign" and "error" in encode


REFUSALS = (
    Refusal("at least one of data, gradient, error", lambda c: c.get("inference.encode") == ("estimate",)),
    Refusal(
        "online steps have no loss_weights",
        lambda c: bool(c.get("inference.online")) and c["inference.loss_weights"] != "uniform",
    ),
    Refusal(
        "online steps are of one iteration alone",
        lambda c: bool(c.get("inference.online")) and _by_autograd(c),
    ),
    Refusal(
        "but an encoder has batch_norm",
        lambda c: _normalised(c) and c["training.model_samples"] > 0,
    ),
    Refusal(
        "online steps are of one encoder alone",
        lambda c: bool(c.get("inference.online")) and c["inference.start"] is not None,
    ),
    Refusal(
        "does not come by dimension",
        lambda c: c["inference.method"] == "flow" and c["training.free_bits"] > 0,
    ),
    Refusal("does not see the data", _blind),
    Refusal(
        "has no encoder",
        lambda c: (
            c["inference.method"] == "svi"
            and (c["training.encoder_steps"] > 1 or c["training.model_samples"] > 0)
        ),
    ),
    Refusal(
        "the encoder's steps are online",
        lambda c: bool(c.get("inference.online")) and c["training.model_samples"] > 0,
    ),
    Refusal(
        "no KL that a bit could be free in",
        lambda c: c["training.objective"] == "iwae" and c["training.free_bits"] > 0,
    ),
    Refusal("encodes the sign of errors", _signs_of_nothing),
)


def refusals(choice: Choice) -> list[Refusal]:
    """Those that hold; none: the configuration must accept it."""
    return [refusal for refusal in REFUSALS if refusal.holds(choice)]


# --- what a field offers --------------------------------------------------------------------------------


def members(annotation: Any) -> list[Any]:
    """The alternatives of a union, or the one type that it is; None among them."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in members(part)]
    return [annotation]


def _options(annotation: Any) -> list[Any]:
    """The values of a field that can be counted; none where they cannot be."""
    found: list[Any] = []
    for member in members(annotation):
        if member is type(None):
            found.append(None)
        elif member is bool:
            found += [False, True]
        elif get_origin(member) is Literal:
            found += get_args(member)
        elif isinstance(member, type) and issubclass(member, BaseModel):
            found += variants(member)
        elif get_origin(member) is tuple and get_origin(members(get_args(member)[0])[0]) is Literal:
            blocks = get_args(members(get_args(member)[0])[0])
            sizes = range(1, len(blocks) + 1)
            found += [chosen for size in sizes for chosen in itertools.combinations(blocks, size)]
    return found


def choices(section: type[BaseModel]) -> dict[str, list[Any]]:
    """What each of its fields offers that has more than one value to offer."""
    found = {
        name: _options(field.annotation) for name, field in section.model_fields.items() if name not in TINY
    }
    return {name: options for name, options in found.items() if len(options) > 1}


def fixed(section: type[BaseModel]) -> dict[str, Any]:
    """The values of its fields that have one unless an axis says otherwise: sizes, networks, its place in a union."""
    values = {name: value for name, value in TINY.items() if name in section.model_fields}
    tags = {
        name: options[0]
        for name, field in section.model_fields.items()
        if get_origin(field.annotation) is Literal and len(options := get_args(field.annotation)) == 1
    }
    return values | tags | _networks(section)


def variants(section: type[BaseModel]) -> list[dict[str, Any]]:
    """Values of a section that is itself a choice: each option of each of its fields at least once.

    Inside of one, networks and encoded blocks are as by default.
    """
    networks = _networks(section)
    inner = {
        name: options
        for name, options in choices(section).items()
        if name not in networks and not isinstance(options[-1], tuple)
    }
    count = max((len(options) for options in inner.values()), default=1)
    return [
        fixed(section) | networks | {name: options[i % len(options)] for name, options in inner.items()}
        for i in range(count)
    ]


def _networks(section: type[BaseModel]) -> dict[str, Any]:
    """A tiny fully connected network for each field that is a network."""
    return {
        name: MLP
        for name, field in section.model_fields.items()
        if any(member in members(AnyNetworkConfig) for member in members(field.annotation))
    }


@cache
def axes(method: str) -> dict[str, list[Any]]:
    """The axes of one inference method and of what surrounds it, by name."""
    [section] = [m for m in members(InferenceConfig) if m.model_fields["method"].default == method]
    found = {"inference.method": [method]}
    found |= {f"inference.{name}": options for name, options in choices(section).items()}
    if "encoders" in section.model_fields:
        found["inference.encoders"] = [False, True]
    found |= {
        "model.likelihood": [v for member in members(LikelihoodConfig) for v in variants(member)],
        "model.depth": list(DEPTHS),
        "model.decoder": _options(AnyNetworkConfig),
        "model.prior_variance": _options(ModelConfig.model_fields["prior_variance"].annotation),
    }
    found |= {f"training.{name}": options for name, options in choices(TrainingConfig).items()}
    return found | {name: list(options) for name, options in MORE.items()}


def methods() -> list[str]:
    """Every inference method that the configuration knows."""
    return [member.model_fields["method"].default for member in members(InferenceConfig)]


# --- from a choice to a configuration -------------------------------------------------------------------


def value_of(choice: Choice) -> dict[str, Any]:
    """A train configuration's value, not yet validated."""
    [section] = [
        m for m in members(InferenceConfig) if m.model_fields["method"].default == choice["inference.method"]
    ]
    depth = DEPTHS[choice["model.depth"]]
    networks = [choice["model.decoder"], *[MLP] * (len(depth["levels"]) - 1)]
    levels = [{**level, "decoder": network} for level, network in zip(depth["levels"], networks, strict=True)]
    inference = fixed(section) | _of("inference", choice)
    if inference.pop("encoders", False):
        inference["encoders"] = [inference["encoder"], *[MLP] * (len(levels) - 1)]
    model = {**depth, **_of("model", choice), "levels": levels}
    model = {name: value for name, value in model.items() if name not in ("depth", "decoder")}
    training = {
        "epochs": 2,
        "batch_size": 4,
        "checkpoint_every": 2,
        "learning_rate": 5e-3,
        **_of("training", choice),
    }
    return {"data": {"source": "digits"}, "model": model, "inference": inference, "training": training}


def _of(section: str, choice: Choice) -> dict[str, Any]:
    start = f"{section}."
    return {name.removeprefix(start): value for name, value in choice.items() if name.startswith(start)}


def config_of(choice: Choice) -> TrainConfig:
    """The configuration. Raises pydantic's ValidationError where it is refused."""
    return TrainConfig.model_validate(value_of(choice))


def said(choice: Choice) -> str:
    """A combination in words, for a failure's note."""
    return re.sub(r"[{}'\"]", "", ", ".join(f"{name}={value}" for name, value in choice.items()))


# --- which combinations ---------------------------------------------------------------------------------


def crossed(method: str) -> Iterator[Choice]:
    """Every combination of the crossed axes; the others take values by chance that go with it, where any do.

    Likelihoods are crossed by kind; which form of it, is chance too.
    """
    offered = axes(method)
    names = [name for name in CROSSED if name in offered]
    kinds = sorted({likelihood["kind"] for likelihood in offered["model.likelihood"]})
    values = [kinds if name == "model.likelihood" else offered[name] for name in names]
    chance = random.Random(method)
    for combination in itertools.product(*values):
        partial = dict(zip(names, combination, strict=True))
        of_kind = [v for v in offered["model.likelihood"] if v["kind"] == partial["model.likelihood"]]
        yield _completed(partial | {"model.likelihood": chance.choice(of_kind)}, offered, chance)


def drawn(method: str, count: int) -> Iterator[Choice]:
    """Combinations of all axes by chance, whether they go together or not."""
    chance = random.Random(f"{method} {count}")
    for _ in range(count):
        yield {name: chance.choice(options) for name, options in axes(method).items()}


def missing(method: str) -> dict[str, list[Any]]:
    """What no row of `covering` has: values that are refused whatever the others are."""
    offered = axes(method)
    return {
        name: [value for value in options if all(row[name] != value for row in covering(method))]
        for name, options in offered.items()
    }


@cache
def covering(method: str) -> tuple[Choice, ...]:
    """Accepted combinations in which every pair of values of two axes occurs that goes together.

    Of methods that share their encoders with the iterative one: in which every value occurs.
    """
    offered, together = axes(method), 2 if method == "iterative" else 1
    chance, rows = random.Random(method), []
    open_groups = set(_groups(offered, together))
    while open_groups:
        first = min(open_groups)
        partial = {name: offered[name][index] for name, index in first}
        candidates = [_completed(partial, offered, chance) for _ in range(12)]
        accepted = [candidate for candidate in candidates if not refusals(candidate)]
        open_groups.discard(first)  # where no combination goes with it, there is nothing to cover
        if accepted:
            rows.append(max(accepted, key=lambda c: len(open_groups & _met(c, offered, together))))
            open_groups -= _met(rows[-1], offered, together)
    return tuple(rows)


def _completed(
    partial: Choice, offered: Mapping[str, Sequence[Any]], chance: random.Random, tries: int = 60
) -> Choice:
    for _ in range(tries):
        others = {name: chance.choice(options) for name, options in offered.items() if name not in partial}
        choice = {name: (others if name in others else partial)[name] for name in offered}
        if not refusals(choice):
            break
    return choice


Group = tuple[tuple[str, int], ...]
"""Values that occur together: axes and places among their values."""


def _groups(offered: Mapping[str, Sequence[Any]], together: int) -> Iterator[Group]:
    for names in itertools.combinations(offered, together):
        places = (range(len(offered[name])) for name in names)
        yield from (tuple(zip(names, chosen, strict=True)) for chosen in itertools.product(*places))


def _met(choice: Choice, offered: Mapping[str, Sequence[Any]], together: int) -> set[Group]:
    places = [(name, offered[name].index(choice[name])) for name in offered]
    return set(itertools.combinations(places, together))
