"""The way in: a link that works once, a token, and being sent back to where one was."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from closegap.api.context import Context
from tests.page.conftest import Open

REFUSED = r"status of 401"


def code(context: Context, secret: str) -> str:
    token = context.tokens.find(secret)
    assert token is not None
    return context.sessions.offer(token.id)


def test_a_link_signs_in_and_leaves_no_trace(
    window: Open, context: Context, secret: Callable[..., str]
) -> None:
    asked: list[str] = []
    one = window(None)
    one.expect(REFUSED)
    one.page.on("request", lambda request: asked.append(request.url))
    given = code(context, secret("submitter"))
    one.page.goto(f"/login#{given}")
    expect(one.page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    assert one.page.url.endswith("/jobs")
    assert not [url for url in asked if given in url and "#" not in url]
    [cookie] = one.page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("closegap_session", True, "Strict")
    assert one.page.evaluate("document.cookie") == ""
    one.page.go_back()
    assert given not in one.page.url
    second = window(None)
    second.expect(REFUSED)
    second.page.goto(f"/login#{given}")
    expect(second.page.get_by_role("alert")).to_contain_text("used already")
    assert second.page.url.endswith("/login")


def test_a_link_is_kept_where_the_service_does_not_answer(
    window: Open, context: Context, secret: Callable[..., str]
) -> None:
    given = code(context, secret("viewer"))
    one = window(None)
    one.expect("Failed to load resource")
    one.page.route("**/v1/whoami", lambda route: route.abort())
    one.page.goto(f"/login#{given}")
    expect(one.page.get_by_role("alert")).to_contain_text("does not answer")
    one.page.unroute("**/v1/whoami")
    one.page.goto(f"/login#{given}")
    expect(one.page.get_by_role("heading", name="No jobs yet")).to_be_visible()


def test_a_browser_that_keeps_no_session_is_said(window: Open, secret: Callable[..., str]) -> None:
    one = window(None)
    one.expect(REFUSED)
    one.page.route("**/v1/session", lambda route: route.fulfill(status=204))
    one.page.goto("/login")
    one.page.get_by_label("Access token").fill(secret("viewer"))
    one.page.get_by_role("button", name="Sign in").click()
    expect(one.page.get_by_role("alert")).to_contain_text("has not kept the session")


def test_who_is_signed_in_is_asked_before_a_link_changes_that(
    window: Open, context: Context, secret: Callable[..., str]
) -> None:
    one = window("admin")
    one.page.goto(f"/login#{code(context, secret('viewer'))}")
    expect(one.page.get_by_text("You are signed in as")).to_be_visible()
    one.page.get_by_role("button", name="Stay").click()
    one.page.get_by_role("button", name="admin").click()
    expect(one.page.get_by_role("dialog")).to_contain_text("role admin")
    one.page.keyboard.press("Escape")
    one.page.goto(f"/login#{code(context, secret('viewer'))}")
    one.page.get_by_role("button", name="Use the link").click()
    expect(one.page.get_by_role("button", name="viewer")).to_be_visible()


def test_a_token_opens_what_was_asked_for(window: Open, secret: Callable[..., str]) -> None:
    one = window(None)
    one.expect(REFUSED)
    one.page.goto("/workers")
    field = one.page.get_by_label("Access token")
    expect(field).to_be_focused()
    field.fill("cg_000000000000_" + "a" * 43)
    one.page.get_by_role("button", name="Sign in").click()
    expect(one.page.get_by_role("alert")).to_contain_text("the token is none")
    field.fill(f"  {secret('admin')} ")
    field.press("Enter")
    expect(one.page.get_by_role("heading", name="Workers")).to_be_visible()
    assert one.page.url.endswith("/workers")
    one.page.get_by_role("button", name="admin").click()
    one.page.get_by_role("button", name="Sign out").click()
    expect(field).to_be_visible()
    one.page.goto("/jobs")
    expect(field).to_be_visible()


def test_a_link_of_the_page_leads_nowhere_else(window: Open, secret: Callable[..., str]) -> None:
    one = window(None)
    one.expect(REFUSED)
    for elsewhere in ("//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"):
        one.page.goto(f"/login?next={elsewhere}")
        one.page.get_by_label("Access token").fill(secret("viewer"))
        one.page.get_by_role("button", name="Sign in").click()
        expect(one.page.get_by_role("heading", name="No jobs yet")).to_be_visible()
        assert one.page.url == f"{one.base}/jobs"
        one.page.context.clear_cookies()


def test_a_session_that_ends_asks_again_and_comes_back(window: Open, context: Context) -> None:
    one = window("admin")
    one.expect(REFUSED)
    one.page.goto("/jobs?state=failed")
    expect(one.page.get_by_role("link", name="Workers")).to_be_visible()
    for token in context.tokens.list():
        context.tokens.revoke(token.id)
    expect(one.page.get_by_label("Access token")).to_be_visible()
    assert one.page.url.endswith("/login?next=%2Fjobs%3Fstate%3Dfailed")
