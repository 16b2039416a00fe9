"""Licences, the Kit and signing in between the simulator and `tallygate serve`."""

import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from tallygate.cli import cli
from tallygate.simulator.command import simulate
from tests.tallygate.marketplace_served import Market, market
from tests.tallygate.simulator.stage import KEY

UNTIL = "20271231000000"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with market(tmp_path_factory.mktemp("market")) as made:
        yield made


def test_a_licence(sides: Market) -> None:
    """Asked for, uploaded, the same when it is asked for again, and another for another device."""
    sold = sides.sold("LICENCE", expire_time=UNTIL)["instance_id"]
    path = f"/instances/{sold}/license"
    first = sides.sim("POST", path, eventId="e-1", deviceFingerprint="one")["license"]
    again = sides.sim("POST", path, eventId="e-1")["license"]
    other = sides.sim("POST", path, deviceFingerprint="two")["license"]
    assert first["licenses"] == again["licenses"]
    [licence], [another] = first["licenses"], other["licenses"]
    assert (licence["type"], licence["sha256"] != another["sha256"]) == ("FILE", True)
    assert verified(sides, "e-1", "one") == 0
    assert verified(sides, "e-1", "two") == 1
    for spoilt, code in (
        ({"expireTime": None}, "000902"),
        (
            {"effectiveTime": "2031-01-01 00:00:00 z", "expireTime": "2032-01-01 00:00:00 z"},
            "000901",
        ),
    ):
        refused = sides.sim("POST", path, expect=code, **spoilt)
        assert not refused["license"]["delivered"]


def verified(sides: Market, event_id: str, fingerprint: str) -> int:
    """What the verifier of docs/ says of what was uploaded, as a buyer's software would."""
    folder = sides.merchant.folder
    file = folder / f"{event_id}.lic"
    file.write_bytes(sides.http.get(f"{sides.url}/_sim/licenses/{event_id}").content)
    script = Path(__file__).parents[2] / "docs" / "verify_licence.py"
    public = str(folder / "licence.key.pub")
    words = [sys.executable, str(script), public, str(file), fingerprint]
    return subprocess.run(words, check=False, capture_output=True).returncode


def test_a_licence_for_good(sides: Market) -> None:
    """Without an end; this product's needs a device."""
    path = f"/instances/{sides.sold('ONCE')['instance_id']}/license"
    assert sides.sim("POST", path, deviceFingerprint="d")["license"]["delivered"]
    sides.sim("POST", path, expect="000903")


def test_uploads_that_fail(sides: Market) -> None:
    """A licence whose answer was lost, and one that was not taken, come again."""
    faults = [{"kind": "timeout_after_accept", "seconds": 1}, {"kind": "http_500"}]
    sides.sim("POST", "/faults", license=faults)
    sold = sides.sold("LICENCE", expire_time=UNTIL)["instance_id"]
    for number in range(2):
        asked = sides.sim("POST", f"/instances/{sold}/license", deviceFingerprint=f"{number}")
        assert asked["license"]["delivered"]
        assert len(asked["license"]["licenses"]) == 1


def test_an_authorization_code(sides: Market) -> None:
    """Activated and asked for by the command, then renewed, frozen and released by the marketplace."""
    sides.sim("POST", "/codes", license="PL-1")
    config = str(sides.merchant.folder / "tallygate.yaml")
    for command in ("activate", "heartbeat"):
        result = CliRunner().invoke(cli, ["licences", command, "PL-1", "-c", config])
        assert result.exit_code == 0, result.output
    for action in ("refresh", "freeze", "unfreeze", "release"):
        sides.sim("POST", f"/codes/PL-1/{action}")


def test_get_license_of_v1(sides: Market) -> None:
    """A debug call, from the shell."""
    words = ["lifecycle", "--url", f"{sides.address}/koogallery", "--activity", "getLicense"]
    result = CliRunner().invoke(simulate, words, env={"KOO_ACCESS_KEY": KEY})
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("version", ["V2", "V1"])
def test_a_company_comes_and_goes(sides: Market, version: str) -> None:
    """Every sync is taken, also twice, and deletions of what never came; nothing is found."""
    sold = sides.sold("T")
    tenant = f"/tenants/of-{version}"
    how = {"version": version, "repeat": 2}
    gone = {
        "tenantId": f"of-{version}",
        "flag": 0,
        "testFlag": 0,
        "instanceId": sold["instance_id"],
    }
    org = {**gone, "orgCode": "D-0", "orgName": "Never there"}
    sides.sim("POST", "/kit/singleOrgSync", body=org, **how)
    sides.sim("PUT", tenant, name="Corp", **sold, **how)
    sides.sim("PUT", f"{tenant}/apps/app", **how)
    sides.sim("PUT", f"{tenant}/apps/app", oaep="SHA-1", **how)
    sides.sim("PUT", f"{tenant}/orgs/D-1", name="销售", **how)
    for as_text in (False, True):
        sides.sim("PUT", f"{tenant}/people/ada", name="Ada", as_text=as_text, **how)
    many = [{"user_name": f"u-{number}"} for number in range(600)]
    sides.sim("PUT", f"{tenant}/people", people=many, **how)
    sides.sim("PUT", f"{tenant}/orgs", orgs=[{"code": "D-1", "name": "All"}], **how)
    sides.sim("DELETE", f"{tenant}/people/ada", **how)
    sides.sim("DELETE", f"{tenant}/orgs/D-1", **how)
    sides.sim("DELETE", f"{tenant}/apps/app", **how)
    sides.sim("DELETE", tenant, **how)


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, trust_env=False, follow_redirects=True) as http:
        yield http


@pytest.fixture
def company(sides: Market) -> Iterator[str]:
    """A tenant with an administrator and a user."""
    sold = sides.sold("T")
    tenant = "/tenants/acme"
    sides.sim("PUT", tenant, name="Acme", **sold)
    callback = f"{sides.address}/koogallery/oauth/callback"
    sides.sim("PUT", f"{tenant}/apps/app", redirect_uris=[callback])
    sides.sim("PUT", f"{tenant}/people/ada", name="Ada Lovelace", role="admin")
    yield tenant
    sides.sim("DELETE", tenant)


def signed_in(sides: Market, browser: httpx.Client) -> httpx.Response:
    """From our own login, over the centre's page, to the customer page."""
    page = browser.get(f"{sides.address}/koogallery/oauth/login", params={"tenant": "acme"})
    assert str(page.url).startswith(sides.url)
    assert "Ada Lovelace" in page.text
    return browser.post(page.url, data={"user_name": "ada"})


def out(browser: httpx.Client, page: httpx.Response) -> httpx.Response:
    """By the form of the page, which leads no further than to our own page."""
    token = page.text.split('name="csrf" value="')[1].split('"')[0]
    site = f"{page.url.scheme}://{page.url.netloc.decode()}"
    return browser.post(
        f"{site}/koogallery/oauth/logout", data={"csrf": token}, headers={"Origin": site}
    )


def test_a_browser_walks_in_and_out(sides: Market, browser: httpx.Client, company: str) -> None:
    """The page shows who is there; out ends our session and the centre's."""
    page = signed_in(sides, browser)
    assert page.status_code == 200, page.text
    assert urlsplit(str(page.url)).path == "/usage/me"
    assert "Ada Lovelace" in page.text
    left = out(browser, page)
    assert left.status_code == 200, left.text
    onward = unescape(left.text.split(f'"{sides.url}/api/v1/logout')[1].split('"')[0])
    back = browser.get(f"{sides.url}/api/v1/logout{onward}")
    assert str(back.url) == f"{sides.address}/koogallery/oauth/logout"
    assert browser.get(f"{sides.address}/usage/me").status_code == 401
    again = browser.get(f"{sides.address}/koogallery/oauth/login", params={"tenant": "acme"})
    assert str(again.url).startswith(sides.url)  # the centre asks again


def test_from_the_portal(sides: Market, browser: httpx.Client, company: str) -> None:
    """A code nobody asked for leads to the same page, by a sign-in of this browser."""
    form = {"tenant_id": "acme", "app_id": "app", "user_name": "ada"}
    page = browser.post(f"{sides.url}/unified-login/", data=form)
    assert page.status_code == 200, page.text
    assert urlsplit(str(page.url)).path == "/usage/me"
    assert "Ada Lovelace" in page.text


def test_who_is_deleted_is_out(sides: Market, browser: httpx.Client, company: str) -> None:
    """From the next request on; and comes in no more."""
    assert signed_in(sides, browser).status_code == 200
    sides.sim("DELETE", f"{company}/people/ada")
    assert browser.get(f"{sides.address}/usage/me").status_code in (401, 403)


def test_nothing_was_found(sides: Market) -> None:
    """By the simulator, in all of this."""
    found = sides.http.get(f"{sides.url}/_sim/findings").json()
    assert found["findings"] == []
