"""Single syncs of the Kit and the deprecated getLicense, as the shell sends them (spec §4.3, §5)."""

from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from . import kit_cases, license_cases
from .callbacks import Callbacks
from .checks import SUCCESS, check_reply
from .clock import Clock
from .conversation import Answered
from .debug_case import Version
from .errors import BadRequest
from .findings import FindingLog
from .kit_bodies import Dialect, Flag
from .kit_calls import SYNCS, Sync
from .kit_cases import Debugged
from .kit_cipher import PADDINGS, sealed
from .settings import SimulatorSettings
from .suites import BaseV1
from .syncing import Manner, Syncing

OLD_GET: Final = license_cases.OLD_GET
OTHERS: Final = (OLD_GET, *SYNCS)
_SECRET: Final = "secret-of-the-debug-app"  # noqa: S105  (nobody's)


@dataclass(frozen=True)
class SingleCall:
    """One of OTHERS. `flag` None leaves what the sync adds with."""

    activity: str
    instance_id: str
    version: Version = Version.KIT_V2
    flag: int | None = None
    test_flag: bool = True
    tamper: str = "none"
    repeat: int = 1


@dataclass(frozen=True)
class Keys:
    """What calls are signed and secrets encrypted with."""

    access_key: str = field(repr=False)
    kit_key: str = field(default="", repr=False)
    public_key: RSAPublicKey | None = field(default=None, repr=False)


async def play_single(
    call: SingleCall, url: str, keys: Keys, callbacks: Callbacks, clock: Clock
) -> list[Answered]:
    """Raises BadRequest where a key is missing."""
    if call.activity == OLD_GET:
        return [await _old_get(call, url, keys, callbacks, clock)]
    if not keys.kit_key:
        raise BadRequest("the Kit has a key of its own: set KOO_KIT_KEY")
    if call.activity == "applicationSync" and keys.public_key is None:
        raise BadRequest("applicationSync encrypts a secret: name --public-key FILE")
    settings = SimulatorSettings(keys.access_key, "", "", kit_key=keys.kit_key)
    syncing = Syncing(settings, callbacks, FindingLog(), clock)
    dialect = Dialect(call.version, int(call.test_flag))
    manner = Manner(dialect, call.tamper, call.repeat)
    return await syncing.send(url, Sync(call.activity, _body(call, keys, clock)), manner)


def _body(call: SingleCall, keys: Keys, clock: Clock) -> dict[str, object]:
    key = keys.public_key
    secrets = {} if key is None else {each: sealed(_SECRET, key, each) for each in PADDINGS}
    debugged = Debugged(call.version, clock.now_ms(), secrets)
    body = kit_cases.goods(debugged, call.instance_id)[call.activity]
    body["testFlag"] = int(call.test_flag)
    if call.flag is not None and "flag" in body:
        body["flag"] = int(Flag(call.flag))
    return body


async def _old_get(
    call: SingleCall, url: str, keys: Keys, callbacks: Callbacks, clock: Clock
) -> Answered:
    suite = BaseV1(keys.access_key, clock)
    [case] = license_cases.in_v1(clock.now_ms())
    signed = suite.signed(case)
    reply = await callbacks.deliver(url, signed)
    found = [
        *check_reply(call.activity, reply, frozenset({SUCCESS})),
        *suite.check(case, reply),
    ]
    return Answered(reply, signed.sent_ms, found)
