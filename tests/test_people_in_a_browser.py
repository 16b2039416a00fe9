"""From a centre's login page to the customer page and out again, in Debian's Chromium: a whole installation.

`TALLYGATE_SCREENSHOTS=docs/images` keeps pictures of what it saw.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from billing_sync.kit_calls import AppTold, KitCall, Sync, TenantTold, UsersTold, UserTold
from billing_sync.kit_marks import Flag
from billing_sync.models import CustomerRow, Instance
from billing_sync.store import kit
from billing_sync.store.engine import writing
from billing_sync.store.kit_access import CLIENT_SECRET
from metering import keys
from metering.clock import SystemClock
from tallygate.config import load
from tallygate.demo.upstream import StubUpstream
from tallygate.installation import Installation
from tallygate.ledgers import open_ledger
from tests.auth_centre import AuthCentre, centre
from tests.installations import Served, configuration, ports_in_a_row, run, serve
from tests.tallygate.serving import serving

CHROMIUM: Final = shutil.which("chromium")
SHOTS: Final = os.environ.get("TALLYGATE_SCREENSHOTS")
CALLS: Final = 7
PRODUCTS: Final = [
    {"product_id": "T", "name": "Chat tokens", "routes": ["chat"], "meter": "tokens_total"},
    {
        "product_id": "P",
        "name": "Thousand tokens",
        "package": {"items": [{"of": "T", "quota": 1000}]},
    },
]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: apt-get install chromium, and the walk is made"
)


@dataclass
class House:
    """An installation whose customer `koo-1` was sold something, and his enterprise's centre."""

    served: Served
    auth: AuthCentre
    base: str

    def sell(self) -> None:
        """As callbacks of the marketplace and of its Kit do, straight into the ledger."""
        installation = Installation(load(self.served.folder / "tallygate.yaml", {}))
        secret, now = installation.secret(), SystemClock().now_ms()
        engine = open_ledger(installation)
        with writing(engine) as session:
            session.add_all([CustomerRow(id="koo-1", name="华商科技"), CustomerRow(id="koo-2")])
            for name, customer, product in (
                ("inst-k", "koo-1", "T"),
                ("pack-k", "koo-1", "P"),
                ("foreign-instance", "koo-2", "T"),
            ):
                session.add(
                    Instance(
                        id=name,
                        customer_id=customer,
                        product_id=product,
                        is_package=product == "P",
                        status="active",
                        started=now - 60_000,
                        expires=now + 30 * 86_400_000,
                    )
                )
        sealed = keys.seal(secret, "secret-1", os.urandom(12), CLIENT_SECRET)
        for instance in ("inst-k", "pack-k"):
            for sync, told in (
                (Sync.TENANT, TenantTold("code", "Enterprise", self.auth.url, "o")),
                (Sync.APPLICATION, AppTold("app", "client-1", sealed)),
                (Sync.AUTH, UsersTold("app", (UserTold("ann", "Ann", "org", "admin", True),))),
            ):
                with writing(engine) as session:
                    kit.apply(session, KitCall(sync, instance, "t-1", Flag.ADD, now, told))
        engine.dispose()

    def use(self) -> str:
        """So many calls with a key of the customer's own."""
        key = self.post("keys", customer_id="koo-1", name="laptop")["key"]
        while self.served.chat(key=key).status_code == 401:
            time.sleep(0.05)
        for _ in range(CALLS - 1):
            self.served.chat(key=key).raise_for_status()
        self.served.counted(CALLS, customer="koo-1")
        return str(key)

    def post(self, path: str, **body: str) -> Any:
        token = (self.served.folder / "var" / "admin_token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.served.plane('control')['admin']}/api/v1/{path}"
        reply = self.served.http.post(url, json=body, headers=headers)
        reply.raise_for_status()
        return reply.json()

    def tokens(self) -> str:
        """What the operator's API says he used."""
        usage = self.served.api("usage", customer="koo-1")
        return f"{int(usage['total']['tokens_total']):,}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        port = ports_in_a_row(2)
        base = f"http://127.0.0.1:{port}"
        config = configuration(stack.enter_context(serving(StubUpstream())), products=PRODUCTS)
        config["control"] = {
            "listen": f"127.0.0.1:{port}",
            "admin_listen": f"127.0.0.1:{port + 1}",
            "public_url": base,
        }
        config["koogallery"] = {"base_url": "http://127.0.0.1:1"}  # centres may be on this machine
        config["limits"] = {"default": {"concurrent": 50}}
        auth = stack.enter_context(centre())
        served = stack.enter_context(serve(tmp_path_factory.mktemp("house"), config))
        house = House(served, auth, base)
        house.sell()
        house.use()
        yield house
        assert served.command.end() == 0
        assert "Traceback" not in served.command.stderr


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for all walks."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Walk:
    """A person with a browser, and what the browser complains of."""

    chromium: Any
    language: str
    theme: str
    complaints: list[str] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = self.chromium.new_context(
            locale="zh-CN" if self.language == "zh" else "en-GB",
            color_scheme=self.theme,
            viewport={"width": 1100, "height": 900},
        )
        self.page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.page.on("dialog", lambda dialog: dialog.accept())

    def _asked(self, request: Any) -> None:
        self.asked.append(request)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{self.page.url}: {message.text}")

    def shoot(self, what: str) -> None:
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            name = f"{what}-{self.language}-{self.theme}.png"
            self.page.screenshot(path=Path(SHOTS) / name, full_page=True)

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

    def figures(self) -> dict[str, str]:
        """The sums on the page."""
        return {
            one.get_attribute("data-total"): one.inner_text()
            for one in self.page.query_selector_all("[data-total]")
        }

    def sign_in(self, base: str) -> None:
        """From our address to the centre's login page and back."""
        self.page.goto(f"{base}/koogallery/oauth/login?tenant=t-1")
        self.page.fill("input[name=user]", "ann")
        self.page.fill("input[name=password]", "pw-ann")
        self.page.click("button")
        self.page.wait_for_url(f"{base}/usage/me")


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh", "dark")])
def test_in_and_out(chromium: Any, house: House, language: str, theme: str) -> None:
    """Signed in at the centre, read, looked at by day, taken as a file, and out on both sides."""
    walk = Walk(chromium, language, theme)
    walk.sign_in(house.base)
    faults = walk.faults()
    walk.shoot("usage")
    assert walk.figures()["tokens_total"] == house.tokens()
    text = walk.page.inner_text("body")
    assert ("您的用量" if language == "zh" else "Your usage") in text
    assert "华商科技" in text
    assert "foreign-instance" not in walk.page.content()
    walk.page.wait_for_selector(".plot canvas")
    walk.page.click("a[href*='by=day']")
    assert walk.figures()["tokens_total"] == house.tokens()
    faults += walk.faults()
    with walk.page.expect_download() as download:
        walk.page.click("a[download]")
    lines = Path(download.value.path()).read_text().splitlines()
    assert sum(int(line.rsplit(",", 1)[1]) for line in lines if "inst-k,tokens_total" in line) == (
        int(house.tokens().replace(",", ""))
    )
    walk.page.click("form[action='/koogallery/oauth/logout'] button")
    walk.page.wait_for_url(f"{house.base}/koogallery/oauth/logout")
    assert ("您已退出登录" if language == "zh" else "You are signed out") in walk.page.inner_text(
        "h1"
    )
    faults += walk.faults()
    assert house.auth.sessions == {}
    assert walk.complaints == []
    reply = walk.page.goto(f"{house.base}/usage/me")
    assert reply.status == 401
    walk.context.close()
    assert faults == []


def test_replacing_a_key(chromium: Any, house: House) -> None:
    """By an admin: shown once, and it opens the gateway."""
    walk = Walk(chromium, "en", "light")
    walk.sign_in(house.base)
    walk.page.click("form[action='/usage/me/rotate'] button")
    walk.page.wait_for_selector("#new-key")
    key = walk.page.inner_text("#new-key").strip()
    assert walk.faults() == []
    walk.page.click("main a.button")
    assert key not in walk.page.content()
    while (status := house.served.chat(key=key).status_code) == 401:
        time.sleep(0.05)
    assert status == 200
    assert walk.complaints == []
    walk.context.close()


def test_by_a_link(chromium: Any, house: House) -> None:
    """Made by a command: everything by keyboard, nothing foreign, no address in a Referer; revoked."""
    path = str(house.served.folder / "tallygate.yaml")
    folder = house.served.folder
    made = run("links", "create", "koo-1", "-c", path, "--json", folder=folder)
    url = json.loads(made.stdout)["url"]
    walk = Walk(chromium, "en", "light")
    walk.page.goto(url)
    assert walk.faults() == []
    walk.shoot("usage-by-link")
    walk.page.keyboard.press("Tab")
    assert walk.page.evaluate("document.activeElement.className") == "skip"
    walk.page.keyboard.press("Enter")
    assert walk.page.evaluate("document.activeElement.id") == "main"
    walk.page.click("a[href*='meter=requests']")
    assert walk.figures()["requests"] == str(house.served.total(customer="koo-1"))
    assert {re.match("https?://[^/]+", request.url)[0] for request in walk.asked} == {house.base}  # type: ignore[index]  # each has a host
    referers = [(r.url, r.all_headers().get("referer")) for r in walk.asked]
    assert [each for each in referers if each[1]] == []
    revoked = run("links", "revoke", "koo-1", "-c", path, folder=folder)
    assert "open nothing any more" in revoked.stdout
    assert walk.complaints == []
    assert walk.page.goto(url).status == 404
    assert walk.faults() == []
    walk.context.close()


def test_on_a_small_screen(chromium: Any, house: House) -> None:
    """Nothing is wider than a telephone."""
    url = house.post("links", customer_id="koo-1")["url"]
    walk = Walk(chromium, "zh", "light")
    walk.page.set_viewport_size({"width": 360, "height": 740})
    walk.page.goto(url)
    assert walk.page.evaluate("document.documentElement.scrollWidth") <= 360
    walk.context.close()
