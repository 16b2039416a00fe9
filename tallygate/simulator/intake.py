"""Usage push (new), the interface side (spec §7.1, §7.3): who may push, and what shape it has.

Bad data are not reported here: a record of the right shape is stored and judged in the background.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from .aksk import SignedRequest, refusal, signs_host
from .canonical import is_canonical, strict_loads
from .findings import Finding
from .marketplace import MAX_RECORDS, Marketplace
from .sdr import MANDATORY, MAX_AGE_MS, OPTIONAL
from .settings import PushAuth, SimulatorSettings
from .signing import PUSH_TOLERANCE_MS, push_signature, same
from .times import parse_record_time

MAX_BATCH: Final = 1000
Record = Mapping[str, object]


@dataclass(frozen=True)
class Answer:
    """HTTP status and the body's error_code and error_msg."""

    status: int
    code: str
    message: str

    def as_json(self) -> dict[str, str]:
        return {"error_code": self.code, "error_msg": self.message[:255]}


SUCCESS: Final = Answer(200, "MKT.0000", "success")


class PushRefused(Exception):
    """The whole push is refused with this answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, code, message)


class Intake:
    """Takes usage pushes into the marketplace. Remembers nonces as long as their `ts` is valid."""

    def __init__(self, settings: SimulatorSettings, marketplace: Marketplace) -> None:
        self.push_auth: PushAuth = settings.push_auth
        self._settings = settings
        self._marketplace = marketplace
        self._nonces: dict[str, int] = {}

    def take(self, request: SignedRequest, now_ms: int) -> Answer:
        """Authenticates, checks the shape, stores. Every refusal is also a finding."""
        try:
            self._authenticate(request, now_ms)
            records = read_batch(request.body)
            self._admit(records, now_ms)
        except PushRefused as refused:
            answer = refused.answer
            self._find("push-refused", f"{answer.code} {answer.message}")
            return answer
        if not is_canonical(request.body):
            self._find("push-order", "the body is not compact JSON with ascending keys")
        self._marketplace.store(records, now_ms)
        return SUCCESS

    def _find(self, check: str, message: str) -> None:
        self._marketplace.findings.add(Finding(check, message))

    def _authenticate(self, request: SignedRequest, now_ms: int) -> None:
        if self.push_auth in ("aksk", "both"):
            if reason := refusal(request, self._settings.ak, self._settings.sk, now_ms):
                raise PushRefused(401, "MKT.0154", f"illegal token: {reason}")
            if not signs_host(request):
                self._find("push-auth", "host is not among the signed headers")
        if self.push_auth in ("signature", "both"):
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
        horizon = now_ms - 2 * PUSH_TOLERANCE_MS
        self._nonces = {seen: at for seen, at in self._nonces.items() if at >= horizon}
        self._nonces[nonce] = now_ms

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


def read_batch(body: bytes) -> list[Record]:
    """`usage_records` with exactly the documented keys; raises PushRefused."""
    try:
        value = strict_loads(body, number=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        raise PushRefused(400, "MKT.0101", "the body is not JSON") from None
    if not isinstance(value, dict) or set(value) != {"usage_records"}:
        raise PushRefused(400, "MKT.0101", "the body must hold usage_records and nothing else")
    records = value["usage_records"]
    if not isinstance(records, list) or not records:
        raise PushRefused(500, "MKT.0100", "usage_records must be a list of at least one record")
    if len(records) > MAX_BATCH:
        raise PushRefused(500, "MKT.9003", f"more than {MAX_BATCH} records")
    for record in records:
        _check_shape(record)
    return records


def _check_shape(record: object) -> None:
    if not isinstance(record, dict):
        raise PushRefused(400, "MKT.0101", "a usage record must be an object")
    if missing := [name for name in MANDATORY if record.get(name) is None]:
        raise PushRefused(400, "MKT.0101", f"{missing[0]} is missing")
    if extra := sorted(set(record) - {*MANDATORY, *OPTIONAL}):
        raise PushRefused(400, "MKT.0101", f"{extra[0]} is no field of a usage record")
    if nested := [name for name, value in record.items() if isinstance(value, list | dict)]:
        raise PushRefused(400, "MKT.0101", f"{nested[0]} must be text or a number")


def _header(request: SignedRequest, name: str, length: int) -> str:
    value = request.headers.get(name, "")
    if not 1 <= len(value) <= length:
        raise PushRefused(400, "MKT.0101", f"header {name} must have 1 to {length} characters")
    return value
