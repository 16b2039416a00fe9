"""Every page over full books, in both languages: it is there, says what it should, and escapes all."""

import re

import pytest

from billing_sync.console.site import console_routes
from tests.billing_sync.console.shop import ODD, STATES, fill
from tests.billing_sync.console.stage import Browser, Stage, text_of

pytestmark = pytest.mark.anyio

PLACES = {
    "{sn}": "sn-rejected",
    "{customer_id:path}": "cust-1",
    "{instance_id:path}": "inst-1",
}


def pages(stage: Stage) -> list[str]:
    found = []
    for route in console_routes(stage.ports):
        path = route.path
        for name, value in PLACES.items():
            path = path.replace(name, value)
        if "GET" in (route.methods or ()) and "{" not in path:
            found.append(path)
    return [path for path in found if path not in ("/console/", "/console/sign-in")]


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_every_page(operator: Browser, stage: Stage, language: str) -> None:
    """Is whole, in the language that was asked for, in the frame of the console."""
    fill(stage)
    for path in [
        *pages(stage),
        "/console/customers/cust/%3Cb%3E%262",
        "/console/records?state=held",
        "/console/instances/pack-2",
    ]:
        reply = await operator.get(path, **{"Accept-Language": language})
        assert reply.status_code == 200, path
        if path != "/console/overview":
            assert f'<html lang="{"zh-Hans" if language == "zh" else "en"}"' in reply.text
            assert reply.text.count("<h1>") == 1, path
            assert 'aria-current="page"' in reply.text, path
        assert "<b>" not in reply.text
        assert "secret-phone" not in reply.text
        text = re.sub("中文|走失|另一卖家的实例", "", text_of(reply))
        assert bool(re.search("[一-鿿]", text)) == (language == "zh"), path


async def test_empty_books(operator: Browser, stage: Stage) -> None:
    """No page fails for having nothing to show."""
    for path in pages(stage):
        if "inst-1" not in path and "cust-1" not in path and "sn-" not in path:
            assert (await operator.get(path)).status_code == 200, path


@pytest.mark.parametrize(
    "path",
    ["/records/nothing", "/customers/nobody", "/instances/none", "/records/%00", "/instances/%00"],
)
async def test_what_is_not_there(operator: Browser, path: str) -> None:
    """Is told in the frame."""
    reply = await operator.get(f"/console{path}")
    assert reply.status_code == 404
    assert "There is nothing here" in reply.text


@pytest.mark.parametrize(
    "path",
    [
        "/records?state=nonsense",
        "/records?after=nonsense",
        "/records?after=1:",
        "/suspense?after=1:x",
        "/keys?after=x",
        "/customers?q=" + "x" * 300,
    ],
)
async def test_questions_that_make_no_sense(operator: Browser, path: str) -> None:
    """Are refused in a sentence."""
    assert (await operator.get(f"/console{path}")).status_code == 400


async def test_the_overview_says_what_the_api_says(operator: Browser, stage: Stage) -> None:
    """To the last digit, from midnight of the site on."""
    fill(stage)
    page = await operator.get("/console")
    shown = dict(re.findall(r'data-meter="([a-z_]+)" data-exact="(\d+)"', page.text))
    midnight = "2027-01-14T16:00:00Z"  # 16:00 UTC is midnight in Shanghai
    asked = {"from": midnight, "by": "meter"}
    token = {"Authorization": "Bearer t0ken-of-the-admin"}
    api = (await operator.client.get("/api/v1/usage", params=asked, headers=token)).json()
    assert shown == {name: n for name, n in api["total"].items() if name in shown}
    assert set(shown) == {"requests", "tokens_total"}
    assert "tokens" in text_of(page).lower()


async def test_the_revenue_of_today(operator: Browser, stage: Stage) -> None:
    """What is to be paid for, without what packages gave."""
    stage.books.buy("i")
    stage.books.use("i", 1_500_000)
    page = await operator.get("/console")
    assert 'data-revenue="CNY">¥30.00<' in page.text


async def test_prepaid_use_is_no_revenue(operator: Browser, stage: Stage) -> None:
    """A package of ten units pays for the first ten."""
    stage.books.buy("p", "PACK")
    stage.books.buy("i")
    stage.books.use("i", 15_000)
    page = await operator.get("/console")
    assert 'data-revenue="CNY">¥0.10<' in page.text


async def test_proof(operator: Browser, stage: Stage) -> None:
    """When, of what, and whether anything differed."""
    from billing_sync.console.ports import Proof

    assert "Not reconciled yet" in (await operator.get("/console")).text
    stage.prover.last_proof = Proof(stage.books.clock.now_ms(), exact=True, day="2027-01-14")
    stage.books.clock.advance(seconds=5)
    text = text_of(await operator.get("/console"))
    assert "Difference 0 at 16:10 daily report of 2027-01-14" in text
    stage.prover.last_proof = Proof(stage.books.clock.now_ms(), exact=False)
    stage.books.clock.advance(seconds=5)
    assert "A difference at 16:10" in text_of(await operator.get("/console"))


async def test_records_by_state(operator: Browser, stage: Stage) -> None:
    """Each state shows its own, with the marketplace's words."""
    fill(stage)
    for state in STATES:
        reply = await operator.get(f"/console/records?state={state}")
        assert f"sn-{state}" in reply.text
        assert sum(f"/console/records/sn-{other}" in reply.text for other in STATES) == 1
    assert (
        "另一卖家的实例 &lt;b&gt;" in (await operator.get("/console/records?state=rejected")).text
    )


async def test_lists_are_paged(operator: Browser, stage: Stage) -> None:
    """Every row on exactly one page, newest first."""
    from tests.billing_sync.console.shop import record
    from tests.billing_sync.console.stage import add

    rows = [record("sent", number) for number in range(120)]
    for number, row in enumerate(rows):
        row.metering_sn = f"sn-{number:03}"
        row.recorded_at = 1000 + number // 3
    add(stage, *rows)
    seen: list[str] = []
    path = "/console/records?state=sent"
    while path:
        reply = await operator.get(path)
        seen += re.findall(r"/console/records/(sn-\d+)", reply.text)
        found = re.search('rel="next" href="([^"]*)"', reply.text)
        path = f"/console/records{found[1].replace('&amp;', '&')}" if found else ""
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 120


async def test_the_timeline_of_an_instance(operator: Browser, stage: Stage) -> None:
    """Each callback once, with its answer."""
    fill(stage)
    text = text_of(await operator.get("/console/instances/inst-1"))
    assert "Upgraded 000002" in text
    assert "Status changed 000000" in text
    assert text.index("Upgraded") < text.index("Bought")
    assert "instanceStatus=FREEZE" in text


async def test_packages_burn_down(operator: Browser, stage: Stage) -> None:
    """What is left, and for how long at the pace of the week."""
    stage.books.buy("p", "PACK", started=stage.books.clock.now_ms() - 86_400_000)
    stage.books.buy("i")
    stage.books.use("i", 4_000)
    text = text_of(await operator.get("/console/packages"))
    assert "4 / 10 6 1.5" in text


async def test_a_package_hour_by_hour(operator: Browser, stage: Stage) -> None:
    """What was left at the end of each hour, exact, in the chart and in its table."""
    now = stage.books.clock.now_ms()
    stage.books.buy("p", "PACK", started=now - 3 * 3_600_000)
    stage.books.buy("i", started=now - 3 * 3_600_000)
    for ago, quantity in ((2, 1_500), (0, 4_001)):
        stage.books.use("i", quantity, window=now // 3_600_000 - ago)
    text = text_of(await operator.get("/console/instances/p"))
    rows = re.findall(r"2027-01-15 (\d\d:00) ([\d.]+)", text)
    assert rows == [("13:00", "10"), ("14:00", "8.5"), ("15:00", "8.5"), ("16:00", "4.499")]


async def test_suspense_and_findings(operator: Browser, stage: Stage) -> None:
    """What matched no instance, and what nobody knows the end of."""
    fill(stage)
    text = text_of(await operator.get("/console/suspense"))
    assert "cust-lost TOKENS" in text
    assert "uncertain" in text
    assert (
        ODD.replace("<b>", "&lt;b&gt;").replace("&2", "&amp;2")
        in (await operator.get("/console/customers")).text
    )
