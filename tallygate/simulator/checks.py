"""The checks KooGallery makes on each reply to a callback (spec §9, table of checks 1-8). Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from .fields import INSTANCE_ID, RESULT_MSG, check_texts
from .findings import Finding

SUCCESS: Final = "000000"
IN_PROCESS: Final = "000004"
RESULT_CODES: Final = frozenset(
    {SUCCESS, "000001", "000002", "000003", IN_PROCESS, "000005"}
    | {f"{number:06d}" for number in range(100, 108)}
    | {f"{number:06d}" for number in range(900, 904)}  # licences
)
TIMEOUT_MS: Final = 20_000  # CN FAQ; the EU guide gives 5 s
ADVISED_MS: Final = 5_000


@dataclass(frozen=True)
class Reply:
    """What came back. `failure` says why there is none; then `status` is None.

    `headers` are spelt as they came.
    """

    status: int | None
    content_type: str
    content: bytes
    elapsed_ms: int
    failure: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def body(self) -> Mapping[str, object] | None:
        """The JSON object; None when it cannot be parsed as one. Fractions are Decimals."""
        try:
            value = json.loads(self.content, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    @property
    def result_code(self) -> str:
        """Empty when the reply has none."""
        code = (self.body or {}).get("resultCode")
        return code if isinstance(code, str) else ""


def accepted_codes(activity: str) -> frozenset[str]:
    """Only creation may answer that it is still in process (§2.4)."""
    return frozenset({SUCCESS, IN_PROCESS} if activity == "newInstance" else {SUCCESS})


def check_reply(activity: str, reply: Reply, accepted: frozenset[str]) -> list[Finding]:
    """Checks 1-7. Nothing after a failed check is looked at when it could not be there."""
    findings = list(_check_transport(reply))
    body = reply.body
    if reply.status is None:
        return findings
    if body is None:
        return [*findings, Finding("parse", "parse failed: the body is not a JSON object")]
    findings += _check_common(body, reply.result_code, accepted)
    if activity == "newInstance" and reply.result_code in accepted_codes(activity):
        findings += check_texts(body, (INSTANCE_ID,))
    return findings


def _check_transport(reply: Reply) -> Iterator[Finding]:
    if reply.status is None:
        yield Finding("reachable", f"production address unreachable: {reply.failure}")
        return
    if reply.elapsed_ms > TIMEOUT_MS:
        yield Finding("in-time", f"no reply within 20 s ({reply.elapsed_ms} ms)")
    elif reply.elapsed_ms > ADVISED_MS:
        yield Finding("in-time", f"slower than the 5 s of the EU guide ({reply.elapsed_ms} ms)")
    if reply.status != 200:
        yield Finding("status", f"httpCode={reply.status}, must be 200")
    media_type = reply.content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        yield Finding("content-type", f"content type is {media_type!r}, must be application/json")


def _check_common(
    body: Mapping[str, object], code: str, accepted: frozenset[str]
) -> Iterator[Finding]:
    if not code:
        yield Finding("parse", "reply lacks resultCode as text")
    elif code not in RESULT_CODES:
        yield Finding("result-code", f"resultCode {code!r} is not in the list of codes")
    elif code not in accepted:
        message = f"production interface returned an error: {code} {body.get('resultMsg')}"
        yield Finding("result-code", message[:400])
    yield from check_texts(body, (RESULT_MSG,))
