"""What bad specs are told: every error at once, each with its place, the value and what is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from closegap.errors import NotFound, Problem, SpecError
from closegap.specs import spec
from closegap.specs.kinds import EvaluateSpec, SweepSpec, TrainSpec
from closegap.specs.references import KINDS, OUTPUTS
from closegap.specs.space import apply
from closegap_core.config import TrainConfig

TRAIN: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits"},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4}]},
    "inference": {"method": "iterative", "iterations": 3},
}
SWEEP: dict[str, Any] = {
    "kind": "sweep",
    "train": {name: value for name, value in TRAIN.items() if name != "kind"},
    "space": {"inference.iterations": {"grid": [1, 2]}},
}


def _problems(source: Any) -> list[Problem]:
    with pytest.raises(SpecError) as raised:
        spec.parse(source)
    return list(raised.value.problems)


def _told(source: Any) -> list[str]:
    return [str(problem) for problem in _problems(source)]


# --- examples, schemas, digests ------------------------------------------------------------------------------------


def test_every_kind_is_known_everywhere() -> None:
    assert set(KINDS) == set(spec.SPECS) == set(OUTPUTS)


@pytest.mark.parametrize("kind", spec.SPECS)
def test_every_example_is_valid_and_survives_a_round_trip(kind: str) -> None:
    text = spec.example(kind)
    [made] = spec.parse(text)
    assert made.kind == kind
    assert text.startswith("#")
    assert spec.load(json.loads(json.dumps(spec.dump(made)))) == made


@pytest.mark.parametrize("kind", spec.SPECS)
def test_every_schema_forbids_unknown_fields(kind: str) -> None:
    schema = spec.schema(kind)
    assert schema["additionalProperties"] is False
    assert {"kind", "name", "needs", "priority", "resources", "retries"} <= set(schema["properties"])


def test_unknown_kinds_of_example_and_schema_are_not_found() -> None:
    for ask in (spec.example, spec.schema):
        with pytest.raises(
            NotFound, match=r"`trian` is no kind of job \(did you mean `train`\?\); accepted: train, sweep"
        ):
            ask("trian")


def test_the_digest_is_of_the_meaning_not_of_the_writing() -> None:
    [short] = spec.parse(TRAIN)
    long = spec.dump(short)
    assert spec.digest(spec.load(dict(reversed(list(long.items()))))) == spec.digest(short)
    [other] = spec.parse({**TRAIN, "priority": 51})
    assert spec.digest(other) != spec.digest(short)


def test_register_is_called_so_in_a_spec_and_its_dump() -> None:
    [made] = spec.parse({**TRAIN, "register": "mnist"})
    assert isinstance(made, TrainSpec)
    assert made.register_as == "mnist"
    assert spec.dump(made)["register"] == "mnist"


def test_a_spec_without_a_name_is_called_as_no_other() -> None:
    specs = spec.parse([TRAIN, {**TRAIN, "name": "train-1"}, TRAIN, {**TRAIN, "name": "train-3"}])
    found = spec.named(specs)
    assert list(found) == ["train-2", "train-1", "train-4", "train-3"]
    assert list(found.values()) == specs


def test_defaults() -> None:
    [made] = spec.parse(TRAIN)
    assert (made.priority, made.resources.workers, made.resources.cpus, made.resources.gpus) == (
        50,
        1,
        1.0,
        0.0,
    )
    budgets = (made.retries.user, made.retries.numerical, made.retries.infrastructure, made.retries.preempted)
    assert budgets == (0, 0, 3, None)


# --- YAML -----------------------------------------------------------------------------------------------------------


def test_several_documents_and_lists_are_one_pipeline() -> None:
    one = yaml.safe_dump(TRAIN)
    assert len(spec.parse(one)) == 1
    assert len(spec.parse(f"---\n{one}---\n{one}")) == 2
    assert len(spec.parse(yaml.safe_dump([TRAIN, TRAIN]))) == 2
    assert len(spec.parse(f"---\n{one}---\n{yaml.safe_dump([TRAIN, TRAIN])}")) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: train\nkind: sweep", "line 2, column 1: the key `kind` is given twice"),
        ("data: {source: a, source: b}", "line 1, column 19: the key `source` is given twice"),
        ("kind: [train", "line 1, column 13"),
        ("kind: train\n\tname: x", "line 2, column 1: found character '\\t'"),
        ("kind: train\n name: x", "line 2, column 6: mapping values are not allowed"),
        ("kind: !!python/object/apply:os.system [ls]", "line 1, column 7: could not determine a constructor"),
        ("a: \0", "not valid YAML"),
    ],
)
def test_malformed_yaml_is_told_with_line_and_column(text: str, told: str) -> None:
    [problem] = _told(text)
    assert told in problem


@pytest.mark.parametrize("text", ["", "# nothing", "---\n---\n", "[]"])
def test_an_empty_text_is_no_spec(text: str) -> None:
    assert _told(text) == [
        "spec: there is no spec; accepted: kind: one of train, sweep, evaluate, export, encode, compare"
    ]


def test_aliases_may_be_used_but_not_without_end() -> None:
    shared = "- &t\n  kind: train\n  data: {source: digits}\n  model: {likelihood: bernoulli, levels: [{latent: 2}]}\n"
    shared += "  inference: standard\n- <<: *t\n  priority: 60\n"
    assert [made.priority for made in spec.parse(shared)] == [50, 60]
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    for text in (bomb, "&a [*a]"):
        assert "expand without end" in _told(text)[0]


def test_a_huge_text_is_refused_before_it_is_read() -> None:
    assert "are too many" in _told("#" * (1 << 20) + "##")[0]


# --- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inference", "told"),
    [
        (
            {"method": "standard", "encoders": [{"hidden": [4]}, {"hidden": [4]}]},
            "inference.encoders has 2 networks for 1 levels",
        ),
        (
            {"method": "iterative", "encoder": {"batch_norm": True}},
            "workers is 2, but an encoder has batch_norm",
        ),
    ],
    ids=["levels", "ranks"],
)
def test_what_does_not_fit_together_in_a_train_spec_is_told_before_it_runs(
    inference: dict[str, Any], told: str
) -> None:
    [said] = _told({**TRAIN, "inference": inference, "resources": {"workers": 2}})
    assert told in said


@pytest.mark.parametrize(
    ("network", "path", "accepted"),
    [
        ({"activation": "eluu"}, "activation", "one of elu, relu, tanh, sigmoid, leaky_relu"),
        ({"kind": "mlp", "widths": [3]}, "widths", "the fields activation, connection, hidden, kind"),
        ({"kind": "convolution", "kernel": "big"}, "kernel", "integer > 0"),
        ({"kind": "convolutoin"}, "", "kind: one of convolution, mlp"),
        ({"channels": [8]}, "channels", "the fields activation, connection, hidden, kind"),
    ],
    ids=str,
)
def test_what_is_wrong_in_a_network_is_found_whether_it_gives_its_kind_or_not(
    network: dict[str, Any], path: str, accepted: str
) -> None:
    model = {"likelihood": "bernoulli", "levels": [{"latent": 2, "decoder": network}]}
    spec = {"kind": "train", "data": {"source": "digits"}, "model": model, "inference": "standard"}
    [problem] = _problems(spec)
    assert problem.path == ".".join(filter(None, ("model.levels[0].decoder", path)))
    assert problem.accepted == accepted


def test_all_errors_come_at_once_with_path_value_and_what_is_accepted() -> None:
    bad = {
        "kind": "train",
        "name": "-x",
        "data": {"source": "digits", "splitt": 3},
        "model": {"likelihood": "bernouli", "levels": [{"latent": 0, "decoder": {"activation": "eluu"}}]},
        "inference": {"method": "iterative", "normalise": "layr", "iterationss": 3},
        "training": {"epochs": "many", "learning_rate": 3},
        "priority": 101,
        "resources": {"workers": -1},
    }
    found = {problem.path: problem for problem in _problems(bad)}
    assert set(found) == {
        "name",
        "data.splitt",
        "model.likelihood",
        "model.levels[0].latent",
        "model.levels[0].decoder.activation",
        "inference.normalise",
        "inference.iterationss",
        "training.epochs",
        "training.learning_rate",
        "priority",
        "resources.workers",
    }
    activation = found["model.levels[0].decoder.activation"]
    assert activation.pointer == "/model/levels/0/decoder/activation"
    assert activation.value == "eluu"
    assert "did you mean `elu`?" in activation.message
    assert activation.accepted == "one of elu, relu, tanh, sigmoid, leaky_relu"
    assert "did you mean `split`?" in found["data.splitt"].message
    assert found["data.splitt"].accepted == "the fields array, binarise, path, source, split"
    assert found["model.likelihood"].accepted == "kind: one of bernoulli, dequantised, gaussian, multinomial"
    assert "did you mean `bernoulli`?" in found["model.likelihood"].message
    assert "did you mean `iterations`?" in found["inference.iterationss"].message
    assert found["priority"].accepted == "integer >= 0 and <= 100"
    assert found["training.learning_rate"].accepted == "number > 0 and <= 1"
    assert found["training.epochs"].value == "many"
    assert "up to 63 letters" in found["name"].accepted


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"kind": "trian"},
            "kind: `trian` is no kind of job (did you mean `train`?); accepted: one of train, sweep",
        ),
        ({"kind": None}, "kind: this field is required; accepted: one of train"),
        ({"model": None}, "model: "),
        ({"inference": {}}, "inference: `method` is missing; accepted: method: one of"),
        (
            {"inference": {"method": "iterative", "encode": ["estimate"]}},
            "inference: encode must have at least one of",
        ),
        ({"needs": ["a b"]}, "needs[0]: "),
        ({"labels": {"x": 1}}, "labels.x: should be a valid string; found `1`"),
        ({"resources": {"cpus": 0}}, "resources.cpus: should be greater than 0"),
        ({"retries": {"user": -1}}, "retries.user: "),
    ],
)
def test_one_wrong_field(change: dict[str, Any], told: str) -> None:
    assert any(line.startswith(told) for line in _told({**TRAIN, **change})), _told({**TRAIN, **change})


def test_a_missing_field_is_named() -> None:
    assert _told({"kind": "evaluate"}) == [
        "model: this field is required; accepted: a registered model (`name`, `name/3` or `name@alias`), a digest "
        "(`sha256:…`), or `${job.model}`"
    ]


def test_what_is_no_object_is_refused() -> None:
    assert _told([TRAIN, 3])[0].startswith("[1]: a spec is an object, not `3`")
    assert _told("just words")[0].startswith("spec: a spec is an object, not `just words`")


@pytest.mark.parametrize("model", ["mnist", "mnist/3", "sha256:" + "a" * 64, "sha256:abcdef12", "${t.model}"])
def test_models_may_be_named_in_every_way(model: str) -> None:
    [made] = spec.parse({"kind": "evaluate", "model": model})
    assert isinstance(made, EvaluateSpec)
    assert made.model == model


@pytest.mark.parametrize("model", ["", "../x", "a/0", "a/b", "sha256:xyz", "sha256:ab", "a b", "x${t.model}"])
def test_other_models_are_refused(model: str) -> None:
    assert [problem.path for problem in _problems({"kind": "evaluate", "model": model})] == ["model"]


def test_rows_to_encode_are_one_thing() -> None:
    encode = {"kind": "encode", "model": "m"}
    for data in ({}, {"source": "a.npy", "part": "test"}, {"part": "test", "array": "x"}):
        assert [problem.path for problem in _problems({**encode, "data": data})] == ["data"]
    assert spec.parse(
        [{**encode, "data": {"source": "a.npz", "array": "x"}}, {**encode, "data": {"part": "valid"}}]
    )


@pytest.mark.parametrize("kind", ["evaluate", "export", "encode"])
def test_only_training_has_several_ranks(kind: str) -> None:
    value = {"kind": kind, "model": "m", "resources": {"workers": 2}}
    assert "resources.workers" in [problem.path for problem in _problems(value)]


# --- pipelines -------------------------------------------------------------------------------------------------------


def test_names_are_unique_within_a_pipeline() -> None:
    told = _told([{**TRAIN, "name": "a"}, TRAIN, {**TRAIN, "name": "a"}])
    assert told == [
        "[2].name: `a` is already the name of spec [0]; accepted: names that differ within a pipeline"
    ]


def test_circles_are_shown() -> None:
    circle = [
        {"kind": "export", "name": "a", "model": "${c.model}"},
        {"kind": "export", "name": "b", "model": "${a.model}"},
        {"kind": "export", "name": "c", "model": "m", "needs": ["b"]},
    ]
    [problem] = _problems(circle)
    assert problem.message.startswith("the needs go in a circle: ")
    assert sorted(problem.message.removeprefix("the needs go in a circle: ").split(" needs ")[1:]) == [
        "a",
        "b",
        "c",
    ]
    assert "itself" not in _told([{**TRAIN, "name": "a", "needs": ["a"]}])[0]
    assert "a needs a" in _told([{**TRAIN, "name": "a", "needs": ["a"]}])[0]


@pytest.mark.parametrize("kind", OUTPUTS)
def test_unknown_outputs_are_refused_with_the_known_ones(kind: str) -> None:
    first = {**spec.parse(spec.example(kind))[0].model_dump(mode="json", by_alias=True), "name": "a"}
    [problem] = _problems([first, {"kind": "evaluate", "model": "${a.modl}"}])
    assert (problem.path, problem.value) == ("[1].model", "${a.modl}")
    assert problem.accepted == f"one of {', '.join(OUTPUTS[kind])}"


@pytest.mark.parametrize("text", ["${a}", "${a.model", "$${a..b}", "${A B.c}"])
def test_a_malformed_reference_is_told_once(text: str) -> None:
    [problem] = _problems({"kind": "evaluate", "model": text})
    assert (problem.path, problem.value, problem.accepted) == ("model", text, "${name.output}")


def test_references_are_found_everywhere_and_resolved() -> None:
    [made] = spec.parse({"kind": "encode", "model": "${x.model}", "data": {"source": "${p.path}/rows.npy"}})
    inputs = {"x": {"model": "sha256:" + "a" * 64}, "p": {"path": "/data"}}
    resolved = spec.dump(spec.resolve(made, inputs))
    assert (resolved["model"], resolved["data"]["source"]) == ("sha256:" + "a" * 64, "/data/rows.npy")
    with pytest.raises(SpecError, match="`p` has left no output `path`"):
        spec.resolve(made, {"x": inputs["x"]})
    with pytest.raises(SpecError, match="model: "):
        spec.resolve(made, {**inputs, "x": {"model": "no such: model"}})


# --- sweeps ----------------------------------------------------------------------------------------------------------


def _sweep(**fields: Any) -> dict[str, Any]:
    return {**SWEEP, **fields}


@pytest.mark.parametrize(
    ("space", "path", "told"),
    [
        (
            {"inference.iterationz": {"grid": [1]}},
            'space["inference.iterationz"].grid[0]',
            "did you mean `iterations`?",
        ),
        ({"inference.iterations": {"grid": [1, 0]}}, 'space["inference.iterations"].grid[1]', "found `0`"),
        ({"training.epochs": {"choice": ["x"]}}, 'space["training.epochs"].choice[0]', "valid integer"),
        ({"foo.bar": {"grid": [1]}}, 'space["foo.bar"].grid[0]', "there is no 'foo'"),
        (
            {"model.levels.1.latent": {"grid": [1]}},
            'space["model.levels.1.latent"].grid[0]',
            "there is no '1'",
        ),
        ({"inference": {"grid": ["standerd"]}}, "space.inference.grid[0]", "did you mean `standard`?"),
        ({"training.seed": {}}, 'space["training.seed"]', "give exactly one of choice"),
        (
            {"training.seed": {"grid": [1], "choice": [1]}},
            'space["training.seed"]',
            "give exactly one of choice",
        ),
        ({"training.seed": {"grid": []}}, 'space["training.seed"].grid', "at least 1 item"),
        (
            {"training.learning_rate": {"uniform": [0.2, 0.1]}},
            'space["training.learning_rate"]',
            "low < high",
        ),
        ({"training.learning_rate": {"log_uniform": [0, 1]}}, 'space["training.learning_rate"]', "low > 0"),
        (
            {"training.learning_rate": {"uniform": [0.1, 0.2]}},
            'space["training.learning_rate"]',
            "grid search cannot",
        ),
        ({}, "space", "at least 1"),
    ],
)
def test_bad_spaces_are_told_at_submit(space: dict[str, Any], path: str, told: str) -> None:
    found = _problems(_sweep(space=space))
    assert path in [problem.path for problem in found]
    assert any(told in str(problem) for problem in found), found


def test_both_ends_of_a_range_must_be_valid() -> None:
    space = {"training.learning_rate": {"uniform": [0.5, 2]}, "training.epochs": {"randint": [0, 5]}}
    found = _problems(_sweep(space=space, search={"algorithm": "random", "trials": 3}))
    assert {problem.path for problem in found} == {
        'space["training.learning_rate"].uniform[1]',
        'space["training.epochs"].randint[0]',
    }


def test_values_that_only_clash_together_are_found() -> None:
    space = {
        "inference.encode": {"grid": [["data"], ["estimate", "data"]]},
        "inference.encode.0": {"grid": ["data"]},
    }
    assert any("lies inside `inference.encode`" in line for line in _told(_sweep(space=space)))
    base = {**SWEEP["train"], "inference": {"method": "iterative", "encode": ["data", "gradient"]}}
    space = {
        "inference.encode.0": {"grid": ["data", "error"]},
        "inference.encode.1": {"grid": ["gradient", "error"]},
    }
    [problem] = _problems(_sweep(train=base, space=space))
    assert problem.value == {"inference.encode.0": "error", "inference.encode.1": "error"}
    assert "names a block twice" in problem.message


def test_a_random_search_needs_a_number_of_trials() -> None:
    assert [problem.path for problem in _problems(_sweep(search={"algorithm": "random"}))] == ["search"]


def test_a_point_is_applied_by_dotted_paths() -> None:
    [made] = spec.parse(SWEEP)
    assert isinstance(made, SweepSpec)
    point = {"inference.iterations": 7, "model.levels.0.latent": 9, "data.split": None}
    config = apply(made.train, point)
    assert isinstance(config, TrainConfig)
    dumped = config.model_dump()
    assert dumped["inference"]["iterations"] == 7
    assert dumped["model"]["levels"][0]["latent"] == 9
