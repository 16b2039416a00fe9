"""The Kit's and License's debug cases: a good merchant passes, each defect is named."""

from collections.abc import Callable

import httpx
import pytest

from tallygate.simulator.callbacks import Callbacks
from tallygate.simulator.debug_case import Version
from tallygate.simulator.examination import Examination, Examined, Order
from tallygate.simulator.kit_cipher import read_public_key
from tallygate.simulator.kit_suite import KitSuite
from tallygate.simulator.suites import License, Suite
from tests.tallygate.simulator.kit_merchant import KIT_KEY, PUBLIC_PEM, Call, KitMerchant
from tests.tallygate.simulator.stage import KEY, HandClock

pytestmark = pytest.mark.anyio

URL = "https://merchant.example.com/saas"
PUBLIC = read_public_key(PUBLIC_PEM)
VERSIONS = (Version.LICENSE, Version.KIT_V2, Version.KIT_V1)


def suite_of(version: Version, *, with_secret: bool = True) -> Suite:
    clock = HandClock()
    if version is Version.LICENSE:
        return License(KEY, clock)
    return KitSuite(version, KIT_KEY, clock, PUBLIC if with_secret else None)


async def examined(transport: httpx.AsyncBaseTransport, suite: Suite) -> list[Examined]:
    clock = HandClock()
    callbacks = Callbacks(KEY, clock, 20.0, transport)
    try:
        return await Examination(callbacks, URL, [suite], clock, Order(seed=7)).run()
    finally:
        await callbacks.close()


def said(found: list[Examined]) -> dict[str, set[str]]:
    """The messages, and the titles of the cases they came up in."""
    messages: dict[str, set[str]] = {}
    for each in found:
        for finding in each.seen:
            messages.setdefault(finding.message, set()).add(each.case.title)
    return messages


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_good_merchant_passes(version: Version) -> None:
    """Each case that must succeed goes out four times with unchanged parameters."""
    found = await examined(KitMerchant(), suite_of(version))
    assert said(found) == {}
    activities = {each.case.activity for each in found if each.case.is_right}
    expected = {
        Version.LICENSE: {
            "getLicenseAsync",
            "refreshLicenseCode",
            "updateLicenseCodeStatus",
            "releaseLicenseCode",
        }
    }
    syncs = {"tenantSync", "applicationSync", "authSync", "singleOrgSync", "allOrgSync"}
    assert activities == expected.get(version, syncs)


@pytest.mark.parametrize("version", [Version.KIT_V2, Version.KIT_V1])
async def test_without_a_public_key(version: Version) -> None:
    """applicationSync is left out, the others are played."""
    found = await examined(KitMerchant(), suite_of(version, with_secret=False))
    assert said(found) == {}
    assert "applicationSync" not in {each.case.activity for each in found}


async def test_every_flag_is_played() -> None:
    """Add, modify, delete and, of users, cancel; some as text."""
    merchant = KitMerchant()
    await examined(merchant, suite_of(Version.KIT_V2))
    flags = {(call.name, str(call.body["flag"])) for call in merchant.taken if "flag" in call.body}
    for name in ("tenantSync", "applicationSync", "authSync", "singleOrgSync"):
        assert {(name, "0"), (name, "1"), (name, "2")} <= flags
    assert ("authSync", "3") in flags


def taking(name: str, code: str) -> Callable[[Call], None]:
    """A merchant who answers this sync with success where `code` was right."""

    def spoil(call: Call) -> None:
        if call.name == name and call.code == code:
            call.code = "000000"

    return spoil


def refusing(name: str, **fields: object) -> Callable[[Call], None]:
    """A merchant who stumbles over such a call."""

    def spoil(call: Call) -> None:
        if call.name == name and all(call.body.get(each) == is_ for each, is_ in fields.items()):
            call.code = "000005"

    return spoil


def forgetful() -> Callable[[Call], None]:
    """A merchant who answers an add only once."""
    seen: set[str] = set()

    def spoil(call: Call) -> None:
        if call.code == "000000" and call.body.get("flag") == 1:
            key = f"{call.name}{sorted(call.body.items(), key=str)}".replace("timeStamp", "")
            call.code = "000103" if key in seen else "000000"
            seen.add(key)

    return spoil


@pytest.mark.parametrize(
    ("version", "spoil", "message", "title"),
    [
        (Version.KIT_V2, taking("tenantSync", "000001"), "must be 000001", "wrong x-sign"),
        (Version.KIT_V1, taking("tenantSync", "000001"), "must be 000001", "wrong authToken"),
        (Version.KIT_V2, taking("tenantSync", "000002"), "must be 000002", "without tenantCode"),
        (Version.KIT_V2, taking("authSync", "000002"), "must be 000002", "501 users"),
        (
            Version.KIT_V2,
            taking("applicationSync", "000101"),
            "must be 000101",
            "clientSecret encrypted for another key",
        ),
        (Version.KIT_V2, taking("tenantSync", "000003"), "must be 000003", "unknown instance, add"),
        (Version.KIT_V2, refusing("authSync", flag=3), "an error: 000005", "cancel"),
        (Version.KIT_V1, refusing("tenantSync", flag=0), "an error: 000005", "delete"),
        (
            Version.KIT_V2,
            refusing("tenantSync", instanceId=""),
            "an error: 000005",
            "credential: no instance, no order",
        ),
        (Version.KIT_V2, forgetful(), "an error: 000103", "add"),
        (
            Version.LICENSE,
            taking("getLicenseAsync", "000002"),
            "must be 000002",
            "eventId of 65 characters",
        ),
        (
            Version.LICENSE,
            taking("getLicenseAsync", "000003"),
            "must be 000003",
            "unknown instance",
        ),
    ],
)
async def test_a_defect_is_named(
    version: Version, spoil: Callable[[Call], None], message: str, title: str
) -> None:
    """By the case that shows it."""
    found = said(await examined(KitMerchant(spoil), suite_of(version)))
    titles = {case for text, cases in found.items() if message in text for case in cases}
    assert title in titles


async def test_a_nonce_whose_end_moved() -> None:
    """A merchant who remembers nonces, and reads a timestamp with a zero before it."""
    found = said(await examined(KitMerchant(is_shiftable=True), suite_of(Version.KIT_V2)))
    titles = set().union(*found.values())
    assert titles == {"again, the end of its x-nonce moved to x-timestamp"}


async def test_one_padding_only() -> None:
    """A merchant who decrypts but one of the ways in which OAEP is written."""
    merchant = KitMerchant(oaep_of=("SHA256/SHA256",))
    found = said(await examined(merchant, suite_of(Version.KIT_V2)))
    titles = set().union(*found.values())
    assert titles == {"OAEP with SHA-1", "OAEP with SHA-256 with MGF1 of SHA-1, as Java writes it"}


async def test_an_unsigned_reply_of_v1() -> None:
    """Body-Sign is checked with the key of the Kit."""

    class Unsigned(KitMerchant):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            reply = await super().handle_async_request(request)
            del reply.headers["Body-Sign"]
            return reply

    found = said(await examined(Unsigned(), suite_of(Version.KIT_V1)))
    assert "signature check: the reply has no Body-Sign header" in found


@pytest.mark.parametrize("version", VERSIONS)
async def test_nobody_there(version: Version) -> None:
    """It is said of the first cases, and nothing else is tried."""

    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused", request=request)

    found = await examined(Silent(), suite_of(version))
    assert len(found) <= 5
    assert all(each.calls == 1 for each in found)
