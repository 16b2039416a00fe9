"""What the marketplace checks on a V1.0 reply besides (spec §3.2-3.4 and §9, checks 7 and 9). Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from .checks import SUCCESS, Reply
from .fields import APP_INFO, check_texts
from .findings import Finding
from .signing import same
from .v1_cipher import BITS, decrypted
from .v1_signing import BODY_SIGN, reply_signature

_BODY_SIGN = re.compile(r'sign_type="HMAC-SHA256", ?signature= ?"([^"]*)"')
_SENSITIVE: Final = ("userName", "password")


def check_v1(activity: str, reply: Reply, key: str) -> list[Finding]:
    """Findings on the signature, the access data and their encryption."""
    if reply.status is None:
        return []
    findings = list(_check_body_sign(reply, key))
    body = reply.body
    if body is None or reply.result_code != SUCCESS:
        return findings
    if activity == "newInstance":
        app_info = body.get("appInfo")
        shown = app_info if isinstance(app_info, dict) else {}
        findings += check_texts(shown, APP_INFO, "appInfo.")
    findings += _check_encryption(body, key)
    return findings


def _check_body_sign(reply: Reply, key: str) -> Iterator[Finding]:
    """Check 9. The name must be spelt as documented, whatever HTTP says about its case."""
    found = [pair for pair in reply.headers if pair[0].lower() == BODY_SIGN.lower()]
    if len(found) != 1:
        how = "no" if not found else "more than one"
        yield Finding("body-sign", f"signature check: the reply has {how} {BODY_SIGN} header")
        return
    name, value = found[0]
    if name != BODY_SIGN:
        yield Finding("body-sign", f"signature check: {name} is spelt wrongly: write {BODY_SIGN}")
    parts = _BODY_SIGN.fullmatch(value)
    if parts is None:
        how = 'is not sign_type="HMAC-SHA256", signature= "…"'
        yield Finding("body-sign", f"signature check: {BODY_SIGN} {how}")
    elif wrong := _wrong_signature(parts[1], reply_signature(key, reply.content)):
        yield Finding("body-sign", f"signature check: the signature of {BODY_SIGN} {wrong}")


def _wrong_signature(given: str, right: str) -> str:
    if same(right, given):
        return ""
    if given.lower() == right.lower():
        return "has letters of the wrong case"
    return "does not fit the bytes of the reply"


def _check_encryption(body: Mapping[str, object], key: str) -> Iterator[Finding]:
    """userName and password are encrypted, with the size of key that encryptType names (§3.3)."""
    values = list(_sensitive(body))
    if not values:
        return
    bits = BITS.get(str(body.get("encryptType")))
    if bits is None:
        yield Finding("encryption", 'encryptType is missing: it must be "1" (AES-256) or "2"')
        return
    for name, value in values:
        if decrypted(key, bits, value) is None:
            yield Finding("encryption", f"{name} cannot be decrypted with {bits} bits")


def _sensitive(body: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Access data of newInstance, and of every entry of queryInstance."""
    info = body.get("info")
    for entry in [body, *(info if isinstance(info, list) else [])]:
        app_info = entry.get("appInfo") if isinstance(entry, dict) else None
        if not isinstance(app_info, dict):
            continue
        for name in _SENSITIVE:
            if isinstance(value := app_info.get(name), str):
                yield f"appInfo.{name}", value
