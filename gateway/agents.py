"""Whether a call comes from KooGallery's Agents gateway: by its token, or a constant header. Pure.

The token (spec §1.5) is a JWT: `{"alg": "HS256", "sign_type": "SIGN"}`, then `{"api_key": the APP Key,
"timestamp": ms, "exp": s or ms}`, signed by the APP Secret. There is one algorithm here, so what a
token says of its own is compared and never obeyed, and any text but the one right spelling of the
signature is wrong. A general JWT library would refuse the milliseconds, and takes ten times as long.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from gateway.credentials import CREDENTIAL_HEADERS
from gateway.errors import Headers
from gateway.headers import folded

_BEARER: Final = b"bearer"
_TOKEN: Final = re.compile(rb"([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_TOKEN_BYTES: Final = 4096
_MS_FROM: Final = 10**11  # a time above this is in ms: in seconds it would be the year 5138
_LIFE_MS: Final = 300_000  # of a token that says nothing of its end (spec §1.5)
_END_OF_TIME: Final = 2**62


class Verdict(StrEnum):
    """What becomes of a proof that was presented."""

    PROVED = "proved"
    MALFORMED = "malformed"  # no token of this form
    UNKNOWN_APP = "unknown_app"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"
    FUTURE = "future"  # made later than now
    BAD_CONSTANT = "bad_constant"  # the constant header has another value


class Proof(NamedTuple):
    """A proof that was presented; where it holds, until `until_ms` (UTC, 0 for ever)."""

    verdict: Verdict
    until_ms: int = 0

    @property
    def holds(self) -> bool:
        """Whether it proves anything."""
        return self.verdict is Verdict.PROVED


class AgentApp(NamedTuple):
    """An APP Key and its APP Secret; the same key may come with several secrets while it changes."""

    key: str
    secret: bytes


class _Header(msgspec.Struct):
    alg: str
    sign_type: str = "SIGN"
    crit: list[str] | None = None


class _Payload(msgspec.Struct):
    api_key: str
    timestamp: int | float
    exp: int | float | None = None


_read_header = msgspec.json.Decoder(_Header).decode
_read_payload = msgspec.json.Decoder(_Payload).decode


class Agents:
    """What the Agents gateway is known by. Header names are in lower case."""

    def __init__(
        self,
        apps: Iterable[AgentApp] = (),
        *,
        jwt_header: bytes = b"authorization",
        constant: tuple[bytes, bytes] | None = None,
        tolerance_ms: int = 60_000,
    ) -> None:
        """`constant` is a header's name and value; `tolerance_ms` is how far clocks may differ."""
        self._secrets: dict[str, tuple[bytes, ...]] = {}
        for key, secret in apps:
            self._secrets[key] = (*self._secrets.get(key, ()), secret)
        self._jwt_header = jwt_header
        self._constant = constant
        self._tolerance_ms = tolerance_ms
        names = ([jwt_header] if self._secrets else []) + ([constant[0]] if constant else [])
        self.headers = frozenset([*names, *map(folded, names)])  # that nobody else need see

    def prove(self, headers: Headers, now_ms: int) -> Proof | None:
        """What the proof of a request amounts to at `now_ms` (UTC); None without one."""
        proof = self._by_token(headers, now_ms) if self._secrets else None
        if self._constant is not None and (proof is None or not proof.holds):
            return self._by_constant(headers, *self._constant) or proof
        return proof

    def _by_constant(self, headers: Headers, name: bytes, wanted: bytes) -> Proof | None:
        values = [value for each, value in headers if each == name]
        if len(values) == 1 and hmac.compare_digest(values[0].strip(), wanted):
            return Proof(Verdict.PROVED)
        if not values or name in CREDENTIAL_HEADERS:  # then it is some customer's key
            return None
        return Proof(Verdict.BAD_CONSTANT)

    def _by_token(self, headers: Headers, now_ms: int) -> Proof | None:
        tokens = [value for name, value in headers if name == self._jwt_header]
        if len(tokens) != 1:
            return None
        token = _without_scheme(tokens[0])
        parts = _TOKEN.fullmatch(token) if len(token) <= _TOKEN_BYTES else None
        return None if parts is None else self._judge(parts[1], parts[2], now_ms)

    def _judge(self, signed: bytes, signature: bytes, now_ms: int) -> Proof:
        payload = _payload(signed)
        if payload is None:
            return Proof(Verdict.MALFORMED)
        secrets = self._secrets.get(payload.api_key)
        if secrets is None:
            return Proof(Verdict.UNKNOWN_APP)
        if not any(_is_signed(signed, signature, secret) for secret in secrets):
            return Proof(Verdict.BAD_SIGNATURE)
        return self._in_time(payload, now_ms)

    def _in_time(self, payload: _Payload, now_ms: int) -> Proof:
        made_ms = _in_ms(payload.timestamp)
        if made_ms > now_ms + self._tolerance_ms:
            return Proof(Verdict.FUTURE)
        ends_ms = made_ms + _LIFE_MS if payload.exp is None else _in_ms(payload.exp)
        until_ms = ends_ms + self._tolerance_ms
        return Proof(Verdict.EXPIRED) if until_ms <= now_ms else Proof(Verdict.PROVED, until_ms)


def _without_scheme(value: bytes) -> bytes:
    value = value.strip()
    scheme, _, rest = value.partition(b" ")
    return rest.strip() if scheme.lower() == _BEARER else value


def _payload(signed: bytes) -> _Payload | None:
    """What a token says, if it is one of this form; nothing of it is proved yet."""
    first, _, second = signed.partition(b".")
    try:
        header = _read_header(_decoded(first))
        payload = _read_payload(_decoded(second))
    except (ValueError, msgspec.MsgspecError):
        return None
    usual = header.alg == "HS256" and header.sign_type == "SIGN" and header.crit is None
    return payload if usual else None


def _decoded(text: bytes) -> bytes:
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _is_signed(signed: bytes, signature: bytes, secret: bytes) -> bool:
    right = urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return hmac.compare_digest(right, signature)


def _in_ms(given: float) -> int:
    """A time in seconds or ms, as ms; finite, since JSON knows nothing else."""
    told = min(int(given), _END_OF_TIME)
    return told if told > _MS_FROM else told * 1000
