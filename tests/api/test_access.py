"""Who may do what: every route there is, without a token, with too low a role, and with another project's token."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from closegap.access.token import Role
from closegap.api.app import PUBLIC
from closegap.api.context import Context
from closegap.api.identity import Ask
from closegap.api.login import REDEEM
from closegap.job import Capacity
from tests.api.conftest import TRAIN, As
from tests.api.sealed import sealed_model


def routes(app: FastAPI) -> list[APIRoute]:
    """Every route of the application; another kind of route would be one that nobody checks."""
    found: list[Any] = []
    for route in app.routes:
        included = getattr(route, "original_router", None)
        found += included.routes if included is not None else [route] if route.path != "/openapi.json" else []
    assert all(isinstance(route, APIRoute) for route in found), found
    return found


def asks(dependant: Dependant) -> Iterator[Ask]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Ask):
            yield inner.call
        yield from asks(inner)


def calls(app: FastAPI, **names: str) -> list[tuple[str, str, Ask]]:
    """(method, path, what it asks) of every route that is not public, path parameters filled in."""
    found = []
    for route in routes(app):
        if route.path in PUBLIC:
            continue
        path = re.sub(r"\{(\w+)(:path)?\}", lambda match: names[match.group(1)], route.path)
        [ask] = list(asks(route.dependant))
        found += [(method, path, ask) for method in sorted(route.methods)]
    return found


BODIES: dict[str, Any] = {
    "/v1/jobs": TRAIN,
    "/v1/jobs:plan": TRAIN,
    "/v1/jobs:validate": TRAIN,
    "/v1/jobs:cancel": {"all": True},
    "/v1/tokens": {"name": "x", "role": "admin"},
}
CHANGES = {"priority": 3, "version": 1, "running": 1, "gpus": None}


def body(method: str, path: str) -> dict[str, Any] | None:
    """A body that the route accepts, where it has one."""
    if method == "GET":
        return None
    if path in BODIES:
        return dict(BODIES[path])
    if path.startswith("/v1/encode/"):
        return {"rows": [[0.0] * 4]}
    wanted = {"PATCH": ("priority",), "PUT": ("running", "gpus") if "projects" in path else ("version",)}
    return {name: CHANGES[name] for name in wanted.get(method, ())} or None


@pytest.fixture
def there(context: Context) -> dict[str, str]:
    """Something of every sort in project `theirs`: a job with outputs, a model with an alias, a token, a worker."""
    digest = sealed_model(context.artifacts)
    job = context.queue.submit(_specs(), project="theirs")[0]
    context.queue.heartbeat("w1", Capacity(cpus=4))
    claim = context.queue.claim("w1", Capacity(cpus=4), 30)
    assert claim is not None
    context.queue.start(claim.lease)
    context.queue.succeed(claim.lease, {"model": digest})
    registry = context.registry("theirs")
    registry.register("secret", digest, job.id, 1)
    registry.set_alias("secret", "best", 1, "me")
    token = context.tokens.create("their own", Role.ADMIN, ["theirs"]).token
    return {
        "job": job.id, "name": "secret", "version": "1", "alias": "best", "model": "secret", "output": "model",
        "file": "config.json", "token": token.id, "project": "theirs", "worker": "w1", "kind": "train",
    }  # fmt: skip


def _specs() -> Any:
    from closegap.specs import spec

    return spec.parse({**TRAIN, "name": "theirs"})


def test_each_route_asks_exactly_once_or_is_public(app: FastAPI) -> None:
    for route in routes(app):
        found = list(asks(route.dependant))
        assert len(found) == (0 if route.path in PUBLIC else 1), route.path
        if route.methods - {"GET", "HEAD"} and not route.path.endswith(
            (":plan", ":validate", "/encode/{model}", "/session", ":offer")
        ):
            assert route.path == REDEEM or found[0].role is not Role.VIEWER, f"{route.path} changes something"


def test_without_a_token_there_is_nothing(app: FastAPI, served: httpx.Client, there: dict[str, str]) -> None:
    checked = 0
    for method, path, _ in calls(app, **there):
        for headers in (
            {},
            {"Authorization": "Bearer cg_000000000000_" + "a" * 43},
            {"Authorization": "Basic eDp5"},
        ):
            answer = served.request(method, path, json=body(method, path), headers=headers)
            assert answer.status_code in (401, 429), f"{method} {path}: {answer.status_code}"
            assert answer.headers["content-type"] == "application/problem+json"
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"].startswith("Bearer")
                checked += 1
            else:
                assert int(answer.headers["retry-after"]) >= 1
    assert checked > len(routes(app))


def test_a_role_below_is_refused(app: FastAPI, by: As, there: dict[str, str]) -> None:
    below = {Role.SUBMITTER: "viewer", Role.ADMIN: "submitter"}
    clients = {role: by(name) for role, name in below.items()}
    viewer, checked = by("viewer"), 0
    for method, path, ask in calls(app, **there):
        if ask.role in below:
            for client in (clients[ask.role], viewer):
                answer = client.request(method, path, json=body(method, path))
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), f"{method} {path}"
                checked += 1
    assert checked > 20


def test_another_project_is_not_there(app: FastAPI, by: As, there: dict[str, str], context: Context) -> None:
    """For an admin of project `ours`, what `theirs` has does not exist: 404, not 403, which would say that it does."""
    ours, theirs, everywhere = by("admin", "ours"), by("admin", "theirs"), by("admin")
    checked = 0
    for method, path, ask in calls(app, **there):
        if ask.everywhere:
            answer = ours.request(method, path, json=body(method, path))
            assert answer.status_code == 403, f"{method} {path}"
            continue
        if not set(there.values()) - {"train", "1", "model", "w1"} & set(re.split(r"[/:]", path)):
            continue
        for params in ({}, {"project": "theirs"}):
            answer = ours.request(method, path, json=body(method, path), params=params)
            assert answer.status_code == 404, f"{method} {path} {params}: {answer.status_code} {answer.text}"
            assert answer.json()["code"] == "not_found"
            checked += 1
    assert checked > 40
    assert context.queue.get(there["job"]).priority == 50
    assert context.tokens.get(there["token"]).revoked is None
    assert [alias.version for alias in context.registry("theirs").aliases("secret")] == [1]
    for client in (theirs, everywhere):  # and it is all there for those who may see it
        answer = client.get(f"/v1/jobs/{there['job']}")
        assert answer.status_code == 200
        found = client.get("/v1/models/secret/versions/1", params={"project": "theirs"})
        assert found.json()["aliases"] == ["best"]


def test_lists_leave_other_projects_out(by: As, there: dict[str, str], context: Context) -> None:
    ours = by("admin", "ours")
    mine = ours.post("/v1/jobs", json={**TRAIN, "name": "mine"}).json()["jobs"][0]
    assert mine["project"] == "ours"
    for params in (
        {},
        {"project": "theirs"},
        {"project": ["theirs", "ours"]},
        {"name": "theirs"},
        {"limit": 1},
    ):
        assert {job["project"] for job in ours.get("/v1/jobs", params=params).json()["jobs"]} <= {"ours"}
    assert ours.get("/v1/models").json() == {"models": []}
    assert [project["name"] for project in ours.get("/v1/projects").json()["projects"]] == ["ours"]
    assert there["token"] not in ours.get("/v1/tokens").text
    claim = context.queue.claim("w1", Capacity(cpus=4), 30)
    assert claim is not None
    assert claim.job.id == mine["id"]
    [worker] = ours.get("/v1/workers").json()["workers"]
    assert worker["jobs"] == [mine["id"]]
    [worker] = by("viewer", "theirs").get("/v1/workers").json()["workers"]
    assert worker["jobs"] == []
    assert ours.post("/v1/jobs:cancel", json={"project": "theirs", "all": True}).json() == {"jobs": {}}


def test_specs_cannot_name_what_other_projects_have(by: As, there: dict[str, str], context: Context) -> None:
    ours = by("submitter", "ours")
    digest = context.registry("theirs").version("secret").digest
    by_need = ours.post("/v1/jobs", json={"kind": "evaluate", "model": f"${{{there['job']}.model}}"})
    assert by_need.json()["errors"][0]["pointer"] == "/model"
    for beginning in (digest[:20], digest.removeprefix("sha256:")[:12]):
        answer = ours.post("/v1/jobs", json={"kind": "evaluate", "model": beginning})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/model")
    assert ours.post("/v1/jobs", json=TRAIN, params={"project": "theirs"}).status_code == 404
    assert by("submitter", "a", "b").post("/v1/jobs", json=TRAIN).json()["code"] == "project_needed"
    assert (
        by("submitter", "a", "default").post("/v1/jobs", json=TRAIN).json()["jobs"][0]["project"] == "default"
    )


def test_why_a_job_waits_names_no_job_of_another_project(
    by: As, context: Context, there: dict[str, str]
) -> None:
    context.queue.submit(_specs(), project="theirs")
    claim = context.queue.claim("w1", Capacity(cpus=4), 30)
    assert claim is not None
    ours = by("submitter", "ours")
    submitted = ours.post("/v1/jobs", json=TRAIN)
    job = submitted.json()["jobs"][0]["id"]
    for answer in (
        submitted,
        ours.get("/v1/jobs", params={"waiting": True}),
        ours.get(f"/v1/jobs/{job}/position"),
        ours.post("/v1/jobs:plan", json=TRAIN),
    ):
        assert claim.job.id not in answer.text
        assert "the end of a job of another project" in answer.text
    assert claim.job.id in by("viewer").get(f"/v1/jobs/{job}/position").text
    assert claim.job.id in by("viewer").post("/v1/jobs:plan", json=TRAIN).text


def test_a_token_ends_when_it_is_revoked_or_over(
    by: As, served: httpx.Client, context: Context, secret: Callable[..., str]
) -> None:
    admin = by("admin")
    made = admin.post("/v1/tokens", json={"name": "alice", "role": "viewer", "projects": ["p"]})
    assert made.status_code == 201
    presented = {"Authorization": f"Bearer {made.json()['secret']}"}
    identifier = made.json()["token"]["id"]
    me = served.get("/v1/whoami", headers=presented).json()
    assert (me["name"], me["role"], me["projects"]) == ("alice", "viewer", ["p"])
    assert made.json()["secret"] not in admin.get("/v1/tokens").text
    used = {token["id"]: token["used"] for token in admin.get("/v1/tokens").json()["tokens"]}
    assert used[identifier] is not None
    assert admin.delete(f"/v1/tokens/{identifier}").json()["revoked"] is not None
    assert served.get("/v1/whoami", headers=presented).status_code == 401
    assert admin.delete("/v1/tokens/ffffffffffff").status_code == 404
    brief = secret("viewer", expires=timedelta(milliseconds=1))
    assert served.get("/v1/whoami", headers={"Authorization": f"Bearer {brief}"}).status_code == 401


def test_an_admin_of_a_project_makes_no_token_for_others(by: As) -> None:
    local = by("admin", "ours")
    assert local.post("/v1/tokens", json={"name": "x", "role": "viewer"}).status_code == 403
    assert (
        local.post("/v1/tokens", json={"name": "x", "role": "viewer", "projects": ["theirs"]}).status_code
        == 404
    )
    assert (
        local.post("/v1/tokens", json={"name": "x", "role": "admin", "projects": ["ours"]}).status_code == 201
    )
    assert local.post("/v1/tokens", json={"name": "x", "role": "root"}).status_code == 422


def test_the_store_has_no_secret(context: Context, settings: Any, secret: Callable[..., str]) -> None:
    presented = secret("admin")
    hidden = presented.rpartition("_")[2]
    for key in context.client.scan_iter(f"{{{settings.namespace}}}:*"):
        assert hidden not in key
        if context.client.type(key) == "hash":
            assert hidden not in str(context.client.hgetall(key))


def test_a_session_is_a_cookie_that_no_other_site_can_use(
    served: httpx.Client, context: Context, secret: Callable[..., str]
) -> None:
    bearer = {"Authorization": f"Bearer {secret('submitter', 'ours')}"}
    begun = served.post("/v1/session", headers=bearer)
    assert begun.status_code == 204
    said = begun.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert "secure" not in said  # plain HTTP, on this machine only
    me = served.get("/v1/whoami").json()  # the client keeps cookies
    assert (me["role"], me["projects"]) == ("submitter", ["ours"])
    page = {"X-Closegap-Page": "1"}
    assert served.post("/v1/jobs", json=TRAIN).status_code == 403
    for strange in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert served.post("/v1/jobs", json=TRAIN, headers=page | strange).status_code == 403, strange
        assert served.get("/v1/jobs", headers=strange).status_code == 403, strange
    own = page | {"Origin": str(served.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert served.post("/v1/jobs", json=TRAIN, headers=own).status_code == 202
    kept = served.cookies["closegap_session"]
    for key in context.client.scan_iter("*:session:*"):
        assert kept not in key
    context.tokens.revoke(me["token"])
    assert served.get("/v1/whoami").status_code == 401


def test_a_session_cannot_make_itself_last(served: httpx.Client, secret: Callable[..., str]) -> None:
    served.post("/v1/session", headers={"Authorization": f"Bearer {secret('viewer')}"})
    for path in ("/v1/session", "/v1/session:offer"):
        again = served.post(path, headers=PAGE)
        assert (again.status_code, again.json()["code"]) == (403, "forbidden")
        assert "set-cookie" not in again.headers


def test_a_session_ends(served: httpx.Client, secret: Callable[..., str]) -> None:
    served.post("/v1/session", headers={"Authorization": f"Bearer {secret('viewer')}"})
    kept = dict(served.cookies)
    assert served.delete("/v1/session", headers={"X-Closegap-Page": "1"}).status_code == 204
    assert served.get("/v1/whoami").status_code == 401
    served.cookies.update(kept)
    assert served.get("/v1/whoami").status_code == 401
    served.cookies.set("closegap_session", "x" * 43)
    assert served.get("/v1/whoami").status_code == 401


PAGE = {"X-Closegap-Page": "1"}


def test_a_link_signs_in_once(served: httpx.Client, context: Context, secret: Callable[..., str]) -> None:
    bearer = {"Authorization": f"Bearer {secret('submitter', 'ours')}"}
    made = served.post("/v1/session:offer", headers=bearer)
    assert (made.status_code, made.json()["seconds"]) == (201, 300)
    code = made.json()["code"]
    for key in context.client.scan_iter("*"):
        assert code not in key
    assert served.post("/v1/session:redeem", json={"code": code}).status_code == 403  # not from the page
    foreign = {"Origin": "http://evil.example"}
    assert served.post("/v1/session:redeem", json={"code": code}, headers=PAGE | foreign).status_code == 403
    begun = served.post("/v1/session:redeem", json={"code": code}, headers=PAGE)
    assert begun.status_code == 204
    assert "httponly" in begun.headers["set-cookie"].lower()
    me = served.get("/v1/whoami").json()
    assert (me["role"], me["projects"]) == ("submitter", ["ours"])
    # A session makes no further one last longer: only the token itself offers.
    assert served.post("/v1/session:offer", headers=PAGE).status_code == 403
    served.cookies.clear()
    again = served.post("/v1/session:redeem", json={"code": code}, headers=PAGE)
    assert (again.status_code, again.json()["code"]) == (401, "unauthorized")
    assert "set-cookie" not in again.headers


def test_a_link_ends_with_its_token_and_its_time(
    served: httpx.Client, context: Context, secret: Callable[..., str]
) -> None:
    bearer = {"Authorization": f"Bearer {secret('viewer')}"}
    late, revoked = (served.post("/v1/session:offer", headers=bearer).json()["code"] for _ in range(2))
    [*keys] = context.client.scan_iter(f"{{{context.settings.namespace}}}:code:*")
    assert len(keys) == 2
    assert all(0 < context.client.ttl(key) <= 300 for key in keys)
    context.client.delete(context.sessions._key("code", late))
    context.tokens.revoke(served.get("/v1/whoami", headers=bearer).json()["token"])
    for code in (late, revoked, "x" * 43, "", "y" * 100):
        answer = served.post("/v1/session:redeem", json={"code": code}, headers=PAGE)
        assert answer.status_code == 401, code
        assert "set-cookie" not in answer.headers


def test_guessing_links_is_slowed(served: httpx.Client) -> None:
    def guess() -> int:
        return served.post("/v1/session:redeem", json={"code": "z" * 43}, headers=PAGE).status_code

    assert guess() == 401
    assert next(status for _ in range(1000) if (status := guess()) != 401) == 429
