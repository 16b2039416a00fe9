"""Usage push, new and old interface (spec §7.1, §7.2, §7.4): serialising is pure, the client only sends.

What is sent is built once and signed at each attempt: a retry carries the same bytes under a new
timestamp. The marketplace drops what it saw before, so resending is safe and dropping never is.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final

import httpx

from billing_sync.koogallery.aksk import AkSkAuth, sdk_date
from billing_sync.koogallery.attempting import attempt
from billing_sync.koogallery.client import Call, OpenApi, aksk_of
from billing_sync.koogallery.outcomes import Blame, Kind, PushOutcome
from billing_sync.koogallery.signing import push_signature
from billing_sync.models import UsageRecord
from billing_sync.settings import KooGallerySettings
from metering.clock import Clock

PATH: Final = "/api/mkp-openapi-public/global/v1/isv/usage-data"
OLD_PATH: Final = "/rest/marketplace/v1/isv/usage-data"
MAX_RECORDS: Final = 1000
BUDGET_S: Final = 30.0


def serialise(records: Sequence[UsageRecord]) -> bytes:
    """The body of a push: compact, keys ascending at every level, values and times as text.

    Raises ValueError for more than 1000 records.
    """
    return _body([_wire(record) | {"metering_sn": record.metering_sn} for record in records])


def serialise_old(records: Sequence[UsageRecord]) -> bytes:
    """The same for the old interface, which knows product_id in place of metering_sn.

    Raises ValueError for more than 1000 records.
    """
    return _body([_wire(record) | {"product_id": record.product_id} for record in records])


def body_of(settings: KooGallerySettings) -> Callable[[Sequence[UsageRecord]], bytes]:
    """How the interface of the settings wants its bodies."""
    return serialise_old if settings.push_interface == "old" else serialise


def _body(records: Sequence[dict[str, str]]) -> bytes:
    if len(records) > MAX_RECORDS:
        raise ValueError(f"{len(records)} records in one push; the limit is {MAX_RECORDS}")
    body = {"usage_records": records}
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _wire(record: UsageRecord) -> dict[str, str]:
    package = record.relate_pkg_instance
    return {
        "begin_time": sdk_date(record.begin),
        "end_time": sdk_date(record.end),
        "instance_id": record.instance_id,
        "record_time": sdk_date(record.recorded_at),
        **({"relate_pkg_instance": package} if package else {}),
        "usage_value": record.value,
    }


class PushClient:
    """Sends one body. Never raises for what the network or the marketplace does."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: KooGallerySettings,
        clock: Clock,
        nonce: Callable[[], str],
        budget_s: float = BUDGET_S,
    ) -> None:
        self._api = OpenApi(http, settings, clock, budget_s)
        self._settings = settings
        self._clock = clock
        self._nonce = nonce
        is_old = settings.push_interface == "old"
        self._path = OLD_PATH if is_old else PATH
        self._way = "aksk" if is_old else settings.push_auth  # the old one knows nothing else

    async def push(self, body: bytes) -> PushOutcome:
        """One attempt, signed afresh as `koogallery.push_auth` says."""
        if missing := self._missing():
            return PushOutcome(
                Kind.PERMANENT, "configuration", f"needs koogallery.{missing}", blame=Blame.CALLER
            )
        return await attempt(self._api, self._call(body), self._auth())

    def _missing(self) -> str | None:
        settings, way = self._settings, self._way
        needed = (["access_key"] if way != "aksk" else []) + (
            ["ak", "sk"] if way != "signature" else []
        )
        return next((name for name in needed if getattr(settings, name) is None), None)

    def _call(self, body: bytes) -> Call:
        headers = {"Content-Type": "application/json", **self._signature(body)}
        return Call("POST", self._path, content=body, headers=headers)

    def _signature(self, body: bytes) -> dict[str, str]:
        key = self._settings.access_key
        if self._way == "aksk" or key is None:
            return {}
        ts, nonce = str(self._clock.now_ms()), self._nonce()
        signature = push_signature(key.get_secret_value(), ts, nonce, body)
        return {"signature": signature, "ts": ts, "nonce": nonce}

    def _auth(self) -> AkSkAuth | None:
        return None if self._way == "signature" else aksk_of(self._settings, self._clock)
