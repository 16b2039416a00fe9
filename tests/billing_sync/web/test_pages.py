"""Rendering: language and theme by choice, everything escaped, no inline code or styles."""

import re

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from billing_sync.web.languages import texts_of
from billing_sync.web.pages import TEMPLATES, Pages, ago
from billing_sync.zones import zone_named

pages = Pages("/static", zone_named("Asia/Shanghai"), {})


async def plain(request: Request) -> Response:
    return pages.page(request, "plain.html")


def client() -> TestClient:
    return TestClient(Starlette(routes=[Route("/", plain)]))


def lang(reply: object) -> str:
    found = re.search('<html lang="([^"]*)" data-theme="([^"]*)">', str(getattr(reply, "text", "")))
    assert found
    return f"{found[1]} {found[2]}"


def test_as_the_browser_asks() -> None:
    """Until somebody chooses."""
    reply = client().get("/", headers={"Accept-Language": "zh-CN"})
    assert lang(reply) == "zh-Hans auto"
    assert "set-cookie" not in reply.headers


def test_as_chosen() -> None:
    """And so on every page from then on."""
    browser = client()
    chosen = browser.get("/?lang=zh&theme=dark&after=7")
    assert lang(chosen) == "zh-Hans dark"
    assert 'href="?after=7&amp;lang=en"' in chosen.text
    assert lang(browser.get("/")) == "zh-Hans dark"
    assert all("HttpOnly" in cookie for cookie in chosen.headers.get_list("set-cookie"))


@pytest.mark.parametrize("asked", ["lang=xx", "theme=<b>", "lang=", "lang=en%00"])
def test_choices_that_are_none(asked: str) -> None:
    """Change nothing and are not shown."""
    reply = client().get(f"/?{asked}")
    assert lang(reply) == "en auto"
    assert "set-cookie" not in reply.headers


def test_parameters_are_escaped() -> None:
    """They come back in the links of the page."""
    reply = client().get('/?q="><script>alert(1)</script>')
    assert "<script>alert" not in reply.text


def test_cookies_travel_by_tls_alone_where_there_is_tls() -> None:
    """Also behind a proxy that ends it."""
    open_line = client().get("/?lang=zh").headers["set-cookie"]
    behind = client().get("/?lang=zh", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert ("Secure" in open_line, "Secure" in behind) == (False, True)


def test_templates_hold_no_inline_code_or_styles() -> None:
    """The browser would refuse them, and so do we."""
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(
            r"\sstyle\s*=|<style|\son[a-z]+\s*=|javascript:|hx-on|\|\s*safe", text
        ), path.name
        assert all("src=" in tag for tag in re.findall("<script[^>]*>", text)), path.name


def test_spans_in_words() -> None:
    """Before, after, and now."""
    english, chinese = texts_of("en"), texts_of("zh")
    assert ago(english, 0, 300_000) == "5 min ago"
    assert ago(english, 7_200_000, 0) == "in 2 h"
    assert ago(chinese, 0, 300_000) == "5 分钟前"
    assert ago(chinese, 0, 10) == "刚刚"
