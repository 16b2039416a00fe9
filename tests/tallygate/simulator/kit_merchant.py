"""A small merchant who knows the Kit and licences, and answers from a call alone. `spoil` plants defects."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.tallygate.simulator.stage import HandClock, Merchant

KIT_KEY = "key-of-the-kit"
PRIVATE = rsa.generate_private_key(65537, 3072)
PUBLIC_PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PRIVATE_PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ABOUT = {"tenantId": 64}
TABLES = {
    "tenantSync": {**ABOUT, "tenantCode": 64, "name": 255, "domainName": 255},
    "applicationSync": {**ABOUT, "appId": 64, "clientId": 64, "clientSecret": 4096},
    "authSync": {**ABOUT, "appId": 64, "currentSyncTime": 20},
    "singleOrgSync": {**ABOUT, "orgCode": 64, "orgName": 128},
    "allOrgSync": ABOUT,
    "getLicenseAsync": {"instanceId": 64, "effectiveTime": 32, "eventId": 64},
    "refreshLicenseCode": {"license": 64, "scene": 64, "orderId": 64, "expireTime": 20},
    "updateLicenseCodeStatus": {"license": 64, "status": 32},
    "releaseLicenseCode": {"license": 64},
}
LICENSE_TIME = r"20[0-9]{2}-(0\d|1[012])-\d{2} \d{2}:\d{2}:\d{2} z"
ALLOWED = {
    "flag": "[0-3]",
    "testFlag": "[01]",
    "role": "user|admin",
    "enable": "true|false",
    "status": "FREEZE|UNFREEZE",
    "scene": "RENEWAL|UNSUBSCRIBE_RENEWAL_PERIOD",
    "effectiveTime": LICENSE_TIME,
}


class Bad(Exception):
    """Answered with this code."""


def mac(key: str, message: bytes) -> bytes:
    return hmac.new(key.encode(), message, hashlib.sha256).digest()


@dataclass
class Call:
    """What a defect may look at and change."""

    name: str
    version: str
    body: dict[str, Any]
    code: str


@dataclass
class KitMerchant(httpx.AsyncBaseTransport):
    """Verifies and checks as spec §4 and §5 ask. Keeps bodies that passed."""

    spoil: Callable[[Call], object] = lambda call: None
    clock: HandClock = field(default_factory=HandClock)
    oaep_of: tuple[str, ...] = ("SHA256/SHA256", "SHA256/SHA1", "SHA1/SHA1")
    is_shiftable: bool = False
    taken: list[Call] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.rpartition("/produceAPI/")[2]
        version = "base" if "/produceAPI/" not in request.url.path else "V1"
        version = "V2" if path.startswith("v2/") else version
        call = Call(path.removeprefix("v2/"), version, {}, "000000")
        try:
            self._judge(call, request)
            self.taken.append(call)
        except Bad as bad:
            call.code = str(bad)
        self.spoil(call)
        content = json.dumps({"resultCode": call.code, "resultMsg": "said"}).encode()
        sign = base64.b64encode(mac(KIT_KEY, content)).decode()
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Body-Sign", f'sign_type="HMAC-SHA256", signature= "{sign}"'.encode()),
        ]
        return httpx.Response(200, headers=headers, content=content)

    def _judge(self, call: Call, request: httpx.Request) -> None:
        raw = request.content
        if call.version == "base":
            merchant = Merchant(self.clock)
            if code := merchant._verify(raw, dict(request.url.params)):
                raise Bad(code)
        body = parsed(raw)
        if call.version == "V2":
            self._verify_v2(raw, body, request.headers)
        if call.version == "V1":
            self._verify_v1(body, request.headers.get("authToken", ""))
        if not isinstance(body, dict):
            raise Bad("000002")
        call.body = body
        call.name = str(body.get("activity", call.name))
        check(call.name, body, call.version)
        if call.name == "applicationSync":
            self._decrypt(body["clientSecret"])
        real = str(body.get("testFlag", "0")) == "0"
        if real and str(body.get("flag", "")) != "0":
            raise Bad("000003")

    def _verify_v2(self, raw: bytes, body: Any, headers: Mapping[str, str]) -> None:
        nonce, stamp = headers.get("x-nonce", ""), headers.get("x-timestamp", "")
        if not nonce or not stamp or abs(self.clock.now_ms() - int(stamp)) > 60_000:
            raise Bad("000002")
        if stamp.startswith("0") and not self.is_shiftable:
            raise Bad("000002")
        text = raw
        if isinstance(body, dict):
            kept = {name: body[name] for name in sorted(body) if body[name] is not None}
            text = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()
        right = mac(KIT_KEY, f"{KIT_KEY}{nonce}{stamp}".encode() + text).hex()
        if headers.get("x-sign", "").lower() != right:
            raise Bad("000001")
        if nonce in self.nonces:
            raise Bad("000002")
        self.nonces.add(nonce)

    def _verify_v1(self, body: Any, token: str) -> None:
        stamp = str(body.get("timeStamp", ""))
        data = "&".join(f"{name}={body[name]}" for name in sorted(body))
        if token != base64.b64encode(mac(KIT_KEY + stamp, data.encode())).decode():
            raise Bad("000001")
        try:
            sent = datetime.strptime(stamp[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            raise Bad("000001") from None
        now = datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC) + timedelta(hours=8)
        if not -86_400 < (sent - now).total_seconds() < 300:
            raise Bad("000001")

    def _decrypt(self, secret: str) -> None:
        known = {"SHA256": hashes.SHA256(), "SHA1": hashes.SHA1()}
        for name in self.oaep_of:
            by, mgf = (known[each] for each in name.split("/"))
            try:
                sealed = base64.b64decode(secret, validate=True)
                PRIVATE.decrypt(sealed, padding.OAEP(padding.MGF1(mgf), by, None))
            except ValueError:
                continue
            return
        raise Bad("000101")


def parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def check(name: str, body: Mapping[str, Any], version: str) -> None:
    """The field tables. Raises Bad."""
    if name not in TABLES or len(str(body.get("instanceId", ""))) > 64:
        raise Bad("000002")
    if name.endswith("Sync") and name != "allOrgSync" and "flag" not in body:
        raise Bad("000002")
    for each, length in TABLES[name].items():
        fits(body.get(each), length)
    fits_if_there(body, {"parentCode": 64, "deviceFingerprint": 1024})
    for each, pattern in ALLOWED.items():
        if each in body and not re.fullmatch(pattern, str(body[each])):
            raise Bad("000002")
    check_times(name, body)
    check_lists(name, body, version)


def check_times(name: str, body: Mapping[str, Any]) -> None:
    ends = body.get("expireTime")
    pattern = LICENSE_TIME if name == "getLicenseAsync" else r"20\d{12}(\d{3})?"
    if ends is not None and not re.fullmatch(pattern, str(ends)):
        raise Bad("000002")


def check_lists(name: str, body: Mapping[str, Any], version: str) -> None:
    if name == "authSync":
        people = entries(body.get("userList"))
        if len(people) > 500:
            raise Bad("000002")
        for each in people:
            check_person(each)
    if name == "allOrgSync":
        listed, named = ("orgInfo", "name") if version == "V1" else ("orgInfoList", "orgName")
        for each in entries(body.get(listed)):
            fits(each.get("orgCode"), 64)
            fits(each.get(named), 128)


def check_person(person: Mapping[str, Any]) -> None:
    for name in ("userName", "name", "orgCode"):
        fits(person.get(name), 64)
    for name in ("role", "enable"):
        if not re.fullmatch(ALLOWED[name], str(person.get(name))):
            raise Bad("000002")


def entries(value: Any) -> list[Any]:
    found = parsed(value.encode()) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise Bad("000002")
    return found


def fits(value: Any, length: int) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= length:
        raise Bad("000002")


def fits_if_there(body: Mapping[str, Any], lengths: Mapping[str, int]) -> None:
    for name, length in lengths.items():
        if len(str(body.get(name, ""))) > length:
            raise Bad("000002")
