"""From the marketplace's login page to the customer page and out again, in Debian's Chromium.

A whole installation beside the simulator, which sells, tells of the company and signs its people in.
`TALLYGATE_SCREENSHOTS=docs/images` keeps pictures of what was seen, more of them in `…/all`.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tallygate.demo.upstream import StubUpstream
from tests.debian import needed
from tests.installations import eventually, run
from tests.tallygate.marketplace_served import market
from tests.tallygate.serving import serving
from tests.walking import LOGIN, TENANT, House, Walk, opened

ROTATE: Final = "form[action='/usage/me/rotate']"
PACKAGE: Final = {"items": [{"of": "T", "quota": 1000}]}
PRODUCTS: Final = [
    {"product_id": "CALLS", "name": "Calls", "routes": ["chat"], "meter": "requests"},
    {"product_id": "P", "name": "Thousand tokens", "package": PACKAGE},
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        upstream = stack.enter_context(serving(StubUpstream()))
        folder = tmp_path_factory.mktemp("house")
        limits = {"default": {"concurrent": 50}}
        sides = stack.enter_context(market(folder, upstream, products=PRODUCTS, limits=limits))
        yield opened(sides)
        assert sides.http.get(f"{sides.url}/_sim/findings").json()["findings"] == []
        assert sides.merchant.command.end() == 0
        assert "Traceback" not in sides.merchant.command.stderr


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for all walks."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=needed("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def not_shown(walk: Walk, house: House) -> None:
    """Nothing of what he may not see, in the page or its source."""
    source = walk.page.content()
    assert [each for each in house.unseen if each in source] == []


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh", "dark")])
def test_in_and_out(chromium: Any, house: House, language: str, theme: str) -> None:
    """Signed in at the centre, read, looked at by day, taken as a file, and out on both sides."""
    before = house.sessions()
    walk = Walk(chromium, language, theme)
    walk.page.goto(house.base + LOGIN)
    faults = walk.faults()
    walk.sign_in(house, "ada")
    faults += walk.faults()
    walk.shoot("all/signed-in")
    assert walk.figures() == {"tokens_total": house.tokens_used()}
    text = walk.page.inner_text("body")
    assert ("您的用量" if language == "zh" else "Your usage") in text
    assert "华商科技" in text
    assert "Ada Lovelace" in text
    assert walk.page.locator("[aria-labelledby=instances-heading] tbody tr").count() == 1
    assert house.tokens in walk.page.content()
    not_shown(walk, house)
    walk.page.wait_for_selector(".plot canvas")
    walk.page.click("a[href*='by=day']")
    assert walk.figures() == {"tokens_total": house.tokens_used()}
    faults += walk.faults()
    with walk.page.expect_download() as download:
        walk.page.click("a[download]")
    lines = Path(download.value.path()).read_text().splitlines()
    mine = [line for line in lines if f"{house.tokens},tokens_total" in line]
    assert sum(int(line.rsplit(",", 1)[1]) for line in mine) == int(
        house.tokens_used().replace(",", "")
    )
    assert house.sessions() == before + 1
    walk.sign_out(house)
    told = "您已退出登录" if language == "zh" else "You are signed out"
    assert told in walk.page.inner_text("h1")
    faults += walk.faults()
    assert walk.complaints == []
    assert walk.referers() == []
    assert house.sessions() == before
    assert walk.page.goto(f"{house.base}/usage/me").status == 401
    walk.page.go_back()
    walk.page.go_back()
    assert walk.figures() == {}
    walk.page.goto(f"{house.base}{LOGIN}?tenant={TENANT}")
    assert walk.page.locator("button[value='ada']").count() == 1  # the centre asks again
    walk.context.close()
    assert faults == []


def test_from_the_portal(chromium: Any, house: House) -> None:
    """Which sends a code and the tenant's id: the same page, and no code in its address or history."""
    walk = Walk(chromium)
    walk.page.goto(f"{house.sides.url}/unified-login/")
    walk.page.click("button[value='ada']")
    walk.page.wait_for_url(f"{house.base}/usage/me")
    assert walk.figures() == {"tokens_total": house.tokens_used()}
    sent = [each.url for each in walk.asked if f"tenant={TENANT}" in each.url]
    assert len(sent) == 1
    assert "code=" in sent[0]
    history = walk.context.new_cdp_session(walk.page).send("Page.getNavigationHistory")
    visited = [entry["url"] for entry in history["entries"]]
    assert f"{house.base}/usage/me" in visited
    assert [url for url in visited if "code=" in url] == []
    walk.sign_out(house)
    assert walk.complaints == []
    walk.context.close()


def test_a_user_only_reads(chromium: Any, house: House) -> None:
    """No button replaces a key, no key is shown, and a form made by hand is refused."""
    walk = Walk(chromium)
    walk.sign_in(house, "bob")
    assert walk.figures() == {"tokens_total": house.tokens_used()}
    assert walk.page.locator(ROTATE).count() == 0
    assert walk.page.locator("#keys-heading").count() == 0
    keys = house.keys()
    status = walk.page.evaluate(
        """async (keyId) => {
            const csrf = document.querySelector("input[name=csrf]").value;
            const body = new URLSearchParams({csrf: csrf, key_id: keyId});
            return (await fetch("/usage/me/rotate", {method: "POST", body: body})).status;
        }""",
        keys[0]["id"],
    )
    assert status == 400
    assert house.keys() == keys
    walk.context.close()


def test_an_admin_replaces_a_key(chromium: Any, house: House) -> None:
    """It is shown once, and opens the gateway."""
    walk = Walk(chromium)
    walk.sign_in(house, "ada")
    walk.page.click(f"{ROTATE} button")
    walk.page.wait_for_selector("#new-key")
    key = walk.page.inner_text("#new-key").strip()
    assert walk.faults() == []
    walk.page.click("main a.button")
    assert key not in walk.page.content()
    eventually(lambda: house.served.chat(key=key).status_code == 200)
    assert walk.complaints == []
    walk.context.close()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_who_is_deleted_is_out(chromium: Any, house: House, language: str) -> None:
    """His next click shows nothing any more, and he is let in no more; hired again, he signs in again."""
    name = f"eve-{language}"
    house.hire(name, "Eve", "user")
    walk = Walk(chromium, language)
    walk.sign_in(house, name)
    assert walk.figures() == {"tokens_total": house.tokens_used()}
    assert walk.complaints == []
    house.dismiss(name)
    with walk.page.expect_response(re.compile("by=day")) as answered:
        walk.page.click("a[href*='by=day']")
    assert answered.value.status == 401
    assert walk.figures() == {}
    assert house.tokens not in walk.page.content()
    assert "华商科技" not in walk.page.content()
    walk.page.goto(f"{house.base}{LOGIN}?tenant={TENANT}")
    assert walk.page.locator(f"button[value='{name}']").count() == 0
    walk.context.close()


def test_hired_again(chromium: Any, house: House) -> None:
    """A session from before a dismissal stays over, though nobody came by in between."""
    house.hire("tom", "Tom", "user")
    walk = Walk(chromium)
    walk.sign_in(house, "tom")
    house.dismiss("tom")
    house.hire("tom", "Another Tom", "user")
    assert walk.page.goto(f"{house.base}/usage/me").status == 401
    walk.context.close()


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh", "dark")])
def test_by_a_link(chromium: Any, house: House, language: str, theme: str) -> None:
    """Made by a command: everything by keyboard, nothing foreign, no address in a Referer; revoked."""
    path = str(house.served.folder / "tallygate.yaml")
    folder = house.served.folder
    made = run("links", "create", "koo-1", "-c", path, "--json", folder=folder)
    url = json.loads(made.stdout)["url"]
    walk = Walk(chromium, language, theme)
    walk.page.goto(url)
    faults = walk.faults()
    walk.page.wait_for_selector(".plot canvas")
    walk.shoot("customer-page")
    assert house.unseen[2] not in walk.page.content()
    walk.page.keyboard.press("Tab")
    assert walk.page.evaluate("document.activeElement.className") == "skip"
    walk.page.keyboard.press("Enter")
    assert walk.page.evaluate("document.activeElement.id") == "main"
    walk.page.click("a[href*='meter=requests']")
    assert walk.figures()["requests"] == str(house.served.total(customer="koo-1"))
    assert {re.match("https?://[^/]+", request.url)[0] for request in walk.asked} == {house.base}  # type: ignore[index]  # each has a host
    assert walk.referers() == []
    revoked = run("links", "revoke", "koo-1", "-c", path, folder=folder)
    assert "open nothing any more" in revoked.stdout
    assert walk.complaints == []
    assert walk.page.goto(url).status == 404
    faults += walk.faults()
    walk.context.close()
    assert faults == []


def test_on_a_small_screen(chromium: Any, house: House) -> None:
    """Nothing is wider than a telephone."""
    walk = Walk(chromium, "zh")
    walk.page.set_viewport_size({"width": 360, "height": 740})
    walk.sign_in(house, "ada")
    assert walk.page.evaluate("document.documentElement.scrollWidth") <= 360
    walk.shoot("all/phone")
    walk.context.close()
