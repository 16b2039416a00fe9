"""Usage push, the interface side (spec §7.1, §7.3, §7.4): who may push, and what shape it has.

Bad data are not reported here: a record of the right shape is stored and judged in the background.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .aksk import SignedRequest, refusal, signs_host
from .batches import PushRefused, Record, read_batch
from .canonical import is_canonical
from .findings import Finding
from .marketplace import Marketplace
from .sdr import MAX_AGE_MS
from .settings import PushAuth, SimulatorSettings
from .signing import PUSH_TOLERANCE_MS, push_signature, same
from .times import parse_record_time
from .usage import MAX_RECORDS

_ROW_ERROR: Final = {"error_code": "MKT.9002", "error_msg": "invalid usage entity"}
_NAMED: Final = ("instance_id", "metering_sn", "begin_time", "end_time")


@dataclass(frozen=True)
class Answer:
    """HTTP status and the body's error_code and error_msg; `rows` are those that were rejected."""

    status: int
    code: str
    message: str
    rows: tuple[Record, ...] = ()

    def as_json(self) -> dict[str, object]:
        said: dict[str, object] = {"error_code": self.code, "error_msg": self.message[:255]}
        if self.rows:
            said["data"] = {"abnormal_usage_data": [_abnormal(row) for row in self.rows]}
        return said


SUCCESS: Final = Answer(200, "MKT.0000", "success")


@dataclass(frozen=True)
class Rejection:
    """Rows that the interface rejects (94060999), for a reason it does not have to give."""

    rejects: Callable[[Record], bool]
    others_taken: bool = True


_NOTHING: Final = Rejection(lambda _: False)


class Intake:
    """Takes usage pushes into the marketplace. Remembers nonces as long as their `ts` is valid."""

    def __init__(self, settings: SimulatorSettings, marketplace: Marketplace) -> None:
        self.push_auth: PushAuth = settings.push_auth
        self._settings = settings
        self._marketplace = marketplace
        self._nonces: dict[str, int] = {}

    def take(
        self,
        request: SignedRequest,
        now_ms: int,
        old: bool = False,
        rejection: Rejection = _NOTHING,
    ) -> Answer:
        """Authenticates, checks the shape, stores. Every refusal is also a finding.

        `old` is the interface of §7.4: AK/SK and nothing else, and the product is named.
        """
        try:
            self._authenticate(request, now_ms, old)
            records = read_batch(request.body, old)
            self._admit(records, now_ms)
        except PushRefused as refused:
            answer = Answer(refused.status, refused.code, str(refused))
            self._find("push-refused", f"{answer.code} {answer.message}")
            return answer
        if not old and not is_canonical(request.body):
            self._find("push-order", "the body is not compact JSON with ascending keys")
        return self._store(records, now_ms, rejection)

    def _store(self, records: Sequence[Record], now_ms: int, rejection: Rejection) -> Answer:
        rejected = tuple(record for record in records if rejection.rejects(record))
        if not rejected:
            self._marketplace.store(records, now_ms)
            return SUCCESS
        if rejection.others_taken:
            good = [record for record in records if not rejection.rejects(record)]
            self._marketplace.store(good, now_ms)
        return Answer(200, "94060999", "Failed", rejected)

    def _find(self, check: str, message: str) -> None:
        self._marketplace.findings.add(Finding(check, message))

    def _authenticate(self, request: SignedRequest, now_ms: int, old: bool) -> None:
        if old or self.push_auth in ("aksk", "both"):
            if reason := refusal(request, self._settings.ak, self._settings.sk, now_ms):
                raise PushRefused(401, "MKT.0154", f"illegal token: {reason}")
            if not signs_host(request):
                self._find("push-auth", "host is not among the signed headers")
        if not old and self.push_auth in ("signature", "both"):
            self._check_signature(request, now_ms)

    def _check_signature(self, request: SignedRequest, now_ms: int) -> None:
        given, ts, nonce = (_header(request, *rule) for rule in _SIGNATURE_HEADERS)
        expected = push_signature(self._settings.access_key, ts, nonce, request.body)
        if not same(expected, given):
            raise PushRefused(400, "MKT.0102", "body signature wrong")
        if not (ts.isascii() and ts.isdigit()) or abs(now_ms - int(ts)) > PUSH_TOLERANCE_MS:
            raise PushRefused(400, "MKT.0199", "ts is not within 5 minutes of now, in ms")
        if nonce in self._nonces:
            raise PushRefused(400, "MKT.0199", "nonce was used before")
        self._forget_nonces(now_ms - 2 * PUSH_TOLERANCE_MS)
        self._nonces[nonce] = now_ms

    def _forget_nonces(self, horizon_ms: int) -> None:
        """The oldest are first."""
        while self._nonces:
            oldest = next(iter(self._nonces))
            if self._nonces[oldest] >= horizon_ms:
                return
            del self._nonces[oldest]

    def _admit(self, records: Sequence[Record], now_ms: int) -> None:
        """What the documented codes judge at the interface: unknown instances, and 21 days."""
        for record in records:
            if record["instance_id"] not in self._marketplace.instances:
                raise PushRefused(500, "MKT.9001", f"instance {record['instance_id']!r} not found")
            begin_ms = parse_record_time(record["begin_time"])
            if begin_ms is not None and now_ms - begin_ms > MAX_AGE_MS:
                raise PushRefused(500, "MKT.9004", "begin_time is more than 21 days ago")
        if len(self._marketplace.records) + len(records) > MAX_RECORDS:
            raise PushRefused(500, "MKT.0999", "the simulator is full; restart it")


_SIGNATURE_HEADERS: Final = (("signature", 1000), ("ts", 20), ("nonce", 64))


def _header(request: SignedRequest, name: str, length: int) -> str:
    value = request.headers.get(name, "")
    if not 1 <= len(value) <= length:
        raise PushRefused(400, "MKT.0101", f"header {name} must have 1 to {length} characters")
    return value


def _abnormal(row: Record) -> Mapping[str, object]:
    """AbnormalUsageData; its fields are not in the documents (§7.3), these are our guess."""
    return {name: row[name] for name in _NAMED if name in row} | _ROW_ERROR
