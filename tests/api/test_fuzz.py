"""What nobody thought of: requests made from the OpenAPI document, and valid specs with something broken in them.

No answer is a fault, every answer is as the document says, and nothing of the inside is shown. `make fuzz` runs more.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from closegap.api.context import Context
from closegap.specs import document, spec
from closegap.specs.kinds import SPECS
from tests.api.conftest import TRAIN, As
from tests.api.sealed import sealed_model

CASES = int(os.environ.get("FUZZ_CASES", "300"))
"""Of each of the two tests, roughly."""
SEED = int(os.environ.get("FUZZ_SEED", "0"))
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.fixture
def known(context: Context, by: As) -> dict[str, str]:
    """Things that are there, put into half of the requests: most random names would only ever be 404."""
    digest = sealed_model(context.artifacts)
    context.registry("default").register("m", digest, "train-1", 1)
    context.registry("default").set_alias("m", "best", 1, "me")
    job = by("admin").post("/v1/jobs", json={**TRAIN, "name": "over"}).json()["jobs"][0]["id"]
    by("admin").post(f"/v1/jobs/{job}:cancel")
    return {
        "job": job, "name": "m", "version": "1", "alias": "best", "model": "m", "output": "model",
        "file": "config.json", "project": "default", "kind": "train",
    }  # fmt: skip


@pytest.mark.timeout(3600)
def test_requests_from_the_document(url: str, secret: Callable[..., str], known: dict[str, str]) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    checks = [check for check in CHECKS.get_all() if check.__name__ in CHECKED]
    assert len(checks) == len(CHECKED)
    headers = {"Authorization": f"Bearer {secret('admin')}"}
    each = max(1, CASES // (2 * len(operations)))

    def answered(case: Any) -> None:
        answer = case.call(headers=headers, timeout=60)
        case.validate_response(answer, checks=checks)
        _shows_nothing(answer.status_code, answer.text)

    counts = [
        asked(operation.as_strategy(generation_mode=mode), each, known, answered)
        for operation in operations
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]
    print(f"{sum(counts)} requests to {len(operations)} operations")
    assert sum(counts) >= len(operations)


def asked(strategy: Any, examples: int, known: dict[str, str], answered: Callable[[Any], None]) -> int:
    """Make so many requests of one sort; how many were made."""
    chance, count = random.Random(SEED), 0

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case: Any) -> None:
        nonlocal count
        count += 1
        if chance.random() < 0.5:
            for name in set(known) & set(case.path_parameters or {}):
                case.path_parameters[name] = known[name]
        answered(case)

    with contextlib.suppress(
        Unsatisfiable
    ):  # an operation without parameters has nothing that could be wrong
        ask()
    return count


JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**64, -(2**70), 10**400, 1e308, -0.0, "", " ", "\0", "a" * 10_000, "\u202e",
    "😀", "'; DROP", "${", "${x.model}", "${scale.x}", "../../etc/passwd", "file:///etc/passwd", "1e5", "NaN", "null",
    "http://169.254.169.254/", "sha256:" + "0" * 64, [], {}, [[]], {"": ""}, {"kind": "train"}, [None] * 50,
    {"a": {"a": {"a": {"a": {}}}}}, "kind: train",
)  # fmt: skip


def valid_specs() -> list[Any]:
    examples = [document.read(spec.example(kind)) for kind in SPECS]
    return [value for documents in examples for value in documents] + [dict(TRAIN)]


def broken(value: Any, chance: random.Random) -> Any:
    """One to three places of a spec replaced, removed, doubled, or given a strange neighbour."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        node, places = value, []
        while isinstance(node, dict | list) and node:
            place = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
            places.append((node, place))
            node = node[place]
        if not places:
            return chance.choice(JUNK)
        holder, place = chance.choice(places)
        action = chance.randrange(4)
        if action == 0:
            holder[place] = copy.deepcopy(chance.choice(JUNK))
        elif action == 1:
            del holder[place]
        elif action == 2 and isinstance(holder, dict):
            holder[str(chance.choice(JUNK))[:50]] = copy.deepcopy(chance.choice(JUNK))
        elif action == 2:
            holder.append(copy.deepcopy(chance.choice(JUNK)))
        else:
            holder[place] = copy.deepcopy(holder)
    return value


@pytest.mark.timeout(3600)
def test_broken_specs(by: As) -> None:
    client, chance = by("submitter"), random.Random(SEED)
    originals, statuses = valid_specs(), dict[int, int]()
    for number in range(CASES):
        value = broken(chance.choice(originals), chance)
        path = ("/v1/jobs", "/v1/jobs:validate", "/v1/jobs:plan")[number % 3]
        text = json.dumps(value) if number % 2 else yaml.safe_dump(value)
        if number % 10 == 0:
            cut = chance.randrange(len(text) + 1)
            text = text[:cut] + chance.choice(['"', "{", "\x00", "\ud800", "&a *a", "\t"]) + text[cut:]
        media = "application/json" if number % 2 else "application/yaml"
        answer = client.post(
            path, content=text.encode("utf-8", "surrogatepass"), headers={"content-type": media}
        )
        assert answer.status_code < 500, f"{answer.text}\n{text[:2000]}"
        _is_told(answer)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    print(f"{CASES} specs: {statuses}")
    assert statuses.get(422, 0) > CASES // 3


def _is_told(answer: httpx.Response) -> None:
    _shows_nothing(answer.status_code, answer.text)
    if answer.status_code >= 400:
        said = answer.json()
        assert said["detail"]
        if said["code"] == "invalid_spec":
            assert said["errors"]
            assert all(item["message"] for item in said["errors"])


def _shows_nothing(status: int, text: str) -> None:
    if status >= 400:
        for word in ("Traceback", 'File "', "site-packages", "pydantic", "/closegap/", "redis."):
            assert word not in text, text
