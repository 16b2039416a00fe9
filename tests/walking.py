"""People with browsers, and the installation beside a simulator that they walk through."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlmodel import select

from billing_sync.people_models import PersonSession
from billing_sync.store.engine import reading
from tallygate.config import load
from tallygate.installation import Installation
from tallygate.ledgers import open_ledger
from tests.installations import Served, eventually
from tests.tallygate.marketplace_served import Market

SHOTS: Final = os.environ.get("TALLYGATE_SCREENSHOTS")
CALLS: Final = 5
UNTIL: Final = "20991231000000"
TENANT: Final = "acme"
LOGIN: Final = "/koogallery/oauth/login"
LOGOUT: Final = "/koogallery/oauth/logout"
OFFERS: Final = [
    {"product_id": "T"},
    {"product_id": "CALLS"},
    {"product_id": "P", "kind": "ON_DEMAND_PKG", "covers": ["T"]},
]


@dataclass
class House:
    """Both sides, and what was bought: `tokens` is the instance that Acme's people may see."""

    sides: Market
    tokens: str
    unseen: list[str]  # other instances of the same customer, and one of another

    @property
    def served(self) -> Served:
        return self.sides.merchant

    @property
    def base(self) -> str:
        return self.sides.address

    @property
    def company(self) -> str:
        return f"/tenants/{TENANT}"

    def hire(self, user_name: str, name: str, role: str) -> None:
        """authSync tells of somebody."""
        self.sides.sim("PUT", f"{self.company}/people/{user_name}", name=name, role=role)

    def dismiss(self, user_name: str) -> None:
        """authSync with flag 0."""
        self.sides.sim("DELETE", f"{self.company}/people/{user_name}")

    def tokens_used(self) -> str:
        """What the operator's API says of his instance."""
        usage = self.served.api("usage", instance=self.tokens)
        return f"{int(usage['total']['tokens_total']):,}"

    def keys(self) -> Any:
        """Every key, as the operator's API lists them, but for when each was last used."""
        return [{**key, "last_used": None} for key in self.served.api("keys")["data"]]

    def sessions(self) -> int:
        """How many people are signed in, in the ledger."""
        installation = Installation(load(self.served.folder / "tallygate.yaml", {}))
        engine = open_ledger(installation)
        try:
            with reading(engine) as session:
                return len(session.exec(select(PersonSession)).all())
        finally:
            engine.dispose()


def opened(sides: Market) -> House:
    """Two customers buy and call; the enterprise of one is told of, its people and departments too."""
    sides.sim("PUT", "/products", products=OFFERS)
    bought = {
        item: sides.buy("koo-1", item, "华商科技", expire_time=UNTIL)
        for item in ("T", "CALLS", "P")
    }
    foreign = sides.buy("koo-2", "T")
    for customer, line, calls in (("koo-1", bought["T"], CALLS), ("koo-2", foreign, 2)):
        key = line["info"]["appInfo"]["password"]
        admitted(sides, key)
        for number in range(calls - 1):
            sides.merchant.chat(key, tokens=20 * number + 30).raise_for_status()
        sides.merchant.counted(calls, customer=customer)
    sold = {name: bought["T"][name] for name in ("instance_id", "order_id")}
    house = House(
        sides,
        str(sold["instance_id"]),
        [str(each["instance_id"]) for each in (bought["CALLS"], bought["P"], foreign)],
    )
    sides.sim("PUT", house.company, name="华商科技", **sold)
    callback = f"{sides.address}/koogallery/oauth/callback"
    sides.sim("PUT", f"{house.company}/apps/app", redirect_uris=[callback])
    sides.sim("PUT", f"{house.company}/orgs/D-1", name="研发部")
    sides.sim("PUT", f"{house.company}/orgs", orgs=[{"code": "D-1", "name": "研发部"}])
    house.hire("ada", "Ada Lovelace", "admin")
    house.hire("bob", "Bob", "user")
    return house


def admitted(sides: Market, key: str) -> None:
    """Return when the gateway lets this key in, after one call."""
    eventually(lambda: sides.merchant.chat(key).status_code == 200)


@dataclass
class Walk:
    """A person with a browser, and what the browser complains of."""

    chromium: Any
    language: str = "en"
    theme: str = "light"
    complaints: list[str] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = self.chromium.new_context(
            locale="zh-CN" if self.language == "zh" else "en-GB",
            color_scheme=self.theme,
            viewport={"width": 960, "height": 800},
        )
        self.page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request))  # noqa: PLW0108  (Playwright needs a function of Python)
        self.page.on("dialog", lambda dialog: dialog.accept())

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

    def referers(self) -> list[tuple[str, str]]:
        """Which addresses were told to whom. Forms of the centre's own page are its own affair."""
        told = [(r.url, r.all_headers().get("referer")) for r in self.asked]
        return [(url, referer) for url, referer in told if referer]

    def sign_in(self, house: House, user_name: str) -> None:
        """From our address to the simulator's page, where one picks who one is, and back."""
        self.page.goto(f"{house.base}{LOGIN}?tenant={TENANT}")
        assert self.page.url.startswith(f"{house.sides.url}/api/v1/oauth2/authorize?")
        self.page.click(f"button[value='{user_name}']")
        self.page.wait_for_url(f"{house.base}/usage/me")

    def sign_out(self, house: House) -> None:
        """By the page's form, over the centre, to the page that says so."""
        self.page.click(f"form[action='{LOGOUT}'] button")
        self.page.wait_for_url(f"{house.base}{LOGOUT}")
