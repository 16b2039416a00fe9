"""One walk through the console in Debian's Chromium: both languages, both themes, no complaint.

`TALLYGATE_SCREENSHOTS=docs/images` keeps some pictures of what it saw, `…/all` keeps all.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync.console.menu import MENU
from billing_sync.console.ports import Proof
from billing_sync.drain import Drainer
from metering.connection import connect_one
from metering.counters import Counters
from tests.billing_sync.books import Books
from tests.billing_sync.console.shop import fill
from tests.billing_sync.console.stage import NAME, PRICED, TOKEN, Stage, stage_of
from tests.debian import needed
from tests.fakes import Ids
from tests.servers import serving

SHOTS: Final = os.environ.get("TALLYGATE_SCREENSHOTS")

PICTURED: Final = {
    "console-overview-en-light",
    "console-overview-zh-dark",
    "console-overview-en-phone",
    "console-instances-inst-1-en-light",
    "console-records-sn-held-zh-light",
    "console-instances-pack-2-en-light",
    "console-packages-en-dark",
}
WALKED: Final = (
    *(href for _, items in MENU for _, href in items),
    "/console/customers/cust-1",
    "/console/instances/inst-1",
    "/console/instances/pack-2",
    "/console/records/sn-rejected",
    "/console/records/sn-held",
    "/console/records?state=held",
)


@pytest.fixture
def database_kind() -> str:
    """The pages themselves are tried on both."""
    return "sqlite"


@pytest.fixture
def served(engine: Engine, valkey_url: str, tmp_path: Path) -> Iterator[tuple[Stage, str]]:
    """A filled console on a port of this machine."""
    redis = connect_one(valkey_url)  # used in the server's loop alone
    stage = stage_of(Books(engine, PRICED), redis, tmp_path)
    fill(stage)
    stage.prover.last_proof = Proof(stage.books.clock.now_ms(), exact=True, day="2027-01-14")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await redis.flushall()
        await Drainer(
            stage.books.engine, Counters(redis), PRICED, stage.books.clock, Ids("live")
        ).drain(0)
        yield
        await redis.aclose()

    app = Starlette(routes=stage.app().routes, lifespan=lifespan)
    with serving(app) as port:
        yield stage, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for all walks."""
    program = needed("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Walk:
    """A person with a browser, and what the browser complains of."""

    def __init__(self, chromium: Any, base: str, language: str, theme: str, width: int) -> None:
        self.base = base
        self.name = f"{language}-{theme}"
        self.complaints: list[str] = []
        self.context = chromium.new_context(
            locale="zh-CN" if language == "zh" else "en-GB",
            color_scheme=theme,
            viewport={"width": width, "height": 900},
        )
        self.page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{self.page.url}: {message.text}")

    def sign_in(self) -> None:
        self.page.goto(f"{self.base}/console")
        self.page.fill("#name", NAME)
        self.page.fill("#token", TOKEN)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(f"{self.base}/console")

    def go(self, path: str) -> None:
        reply = self.page.goto(f"{self.base}{path}")
        assert reply.status == 200, path

    def shoot(self, what: str) -> None:
        name = f"console-{what or 'overview'}-{self.name}"
        if SHOTS and (name in PICTURED or SHOTS.endswith("/all")):
            folder = Path(SHOTS)
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / f"{name}.png")

    def faults(self) -> list[str]:
        """What axe-core calls serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{self.page.url} {each['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]


@pytest.mark.parametrize(
    ("language", "theme", "judged"),
    [
        ("en", "light", True),
        ("zh", "dark", True),
        ("zh", "light", False),  # the same words and the same colours as above
        ("en", "dark", False),
    ],
)
def test_a_walk(
    chromium: Any, served: tuple[Stage, str], language: str, theme: str, *, judged: bool
) -> None:
    """Every page: nothing refused by the policy, no error in the browser, no fault for axe-core."""
    _, base = served
    walk = Walk(chromium, base, language, theme, 1280)
    walk.page.goto(f"{base}/console")
    faults = walk.faults() if judged else []
    walk.shoot("sign-in")
    walk.sign_in()
    for path in WALKED:
        walk.go(path)
        faults += walk.faults() if judged else []
        walk.shoot(path.split("?")[0].removeprefix("/console").strip("/").replace("/", "-"))
    walk.context.close()
    assert walk.complaints == []
    assert faults == []


def test_complaints_are_heard(chromium: Any, served: tuple[Stage, str]) -> None:
    """Or the walk would be green whatever a page holds."""
    _, base = served
    walk = Walk(chromium, base, "en", "light", 1280)
    walk.sign_in()
    for html in ('<i style="color: red">x</i>', '<img src="data:,">'):
        walk.page.evaluate("html => main.insertAdjacentHTML('beforeend', html)", html)
    assert any("image-alt" in fault for fault in walk.faults())
    walk.page.wait_for_timeout(50)
    walk.context.close()
    assert any("Content Security Policy" in complaint for complaint in walk.complaints)


def test_the_overview(chromium: Any, served: tuple[Stage, str]) -> None:
    """Shows what the API says, draws it, and keeps it fresh."""
    stage, base = served
    walk = Walk(chromium, base, "en", "light", 1280)
    walk.sign_in()
    page = walk.page
    shown = {
        each.get_attribute("data-meter"): each.get_attribute("data-exact")
        for each in page.query_selector_all("[data-meter]")
    }
    asked = {"from": "2027-01-14T16:00:00Z", "by": "meter"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    api = httpx.get(f"{base}/api/v1/usage", params=asked, headers=headers).json()["total"]
    assert shown == {name: api[name] for name in ("requests", "tokens_total")}
    assert page.locator("canvas").count() == 1
    page.click("details.as-table summary")
    assert page.locator("details.as-table tbody tr").count() == 24
    page.click("details.as-table summary")
    stage.books.use("", 1, meter="requests")
    stage.books.clock.advance(seconds=10)
    page.evaluate("htmx.ajax('GET', '/console/overview', {target: '#overview', swap: 'outerHTML'})")
    more = str(int(api["requests"]) + 1)
    page.wait_for_selector(f'[data-meter="requests"][data-exact="{more}"]')
    assert page.locator("canvas").count() == 1
    walk.context.close()
    assert walk.complaints == []


def test_language_and_theme_are_switched(chromium: Any, served: tuple[Stage, str]) -> None:
    """By a click, and so on every page from then on."""
    _, base = served
    walk = Walk(chromium, base, "en", "light", 1280)
    walk.sign_in()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = walk.page.evaluate(ground)
    walk.page.click("a[hreflang=zh]")
    walk.page.click("text=深色")
    walk.go("/console/records")
    assert walk.page.title() == "话单 · Tallygate"
    assert walk.page.evaluate(ground) != light
    walk.context.close()
    assert walk.complaints == []


def test_deciding_about_a_record(chromium: Any, served: tuple[Stage, str]) -> None:
    """With the keyboard alone."""
    _, base = served
    walk = Walk(chromium, base, "en", "light", 1280)
    walk.sign_in()
    walk.go("/console/records/sn-held")
    walk.page.focus("#reason")
    walk.page.keyboard.type("a real campaign")
    walk.page.keyboard.press("Tab")
    walk.page.keyboard.press("Enter")
    walk.page.wait_for_selector(".notice.good")
    assert "pending" in walk.page.inner_text(".head")
    assert NAME in walk.page.inner_text(".timeline")
    walk.context.close()
    assert walk.complaints == []


def test_on_a_phone(chromium: Any, served: tuple[Stage, str]) -> None:
    """No page is wider than the screen; the menu is folded away."""
    _, base = served
    walk = Walk(chromium, base, "en", "light", 390)
    walk.sign_in()
    for path in WALKED:
        walk.go(path)
        wide = walk.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, path
    walk.go("/console")
    walk.name = "en-phone"
    walk.shoot("overview")
    assert not walk.page.is_visible("text=Run history")
    walk.page.click(".menu summary")
    assert walk.page.is_visible("text=Run history")
    walk.context.close()
    assert walk.complaints == []
