"""V1.0 as tests play it: GET calls with a token, and replies opened as KooGallery would.

Signing and ciphers are written out by hand here, from the specification, so that they can disagree
with ours.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.billing_sync.marketplace import ACCESS_KEY, Marketplace

# What OpenJDK 17 makes of ACCESS_KEY: SHA1PRNG, 32 bytes.
AES_KEY = bytes.fromhex("6059bd67569afc3b6118044ba1679e5a155cd3f8586b7bf7110a7e626ff1da49")


def token(parameters: dict[str, str], key: str = ACCESS_KEY) -> str:
    """authToken of spec §3.1."""
    data = "&".join(f"{name}={value}" for name, value in sorted(parameters.items()))
    mac_key = key + parameters.get("timeStamp", "")
    return base64.b64encode(hmac.digest(mac_key.encode(), data.encode(), "sha256")).decode()


def stamp(at_ms: int) -> str:
    """`yyyyMMddHHmmssSSS`, UTC."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y%m%d%H%M%S}{at_ms % 1000:03}"


def encrypted(text: str, bits: int = 256, iv: str = "0123456789abcdef") -> str:
    """A phone number or an address as spec §3.3 wants it."""
    raw = text.encode()
    pad = 16 - len(raw) % 16
    box = Cipher(algorithms.AES(AES_KEY[: bits // 8]), modes.CBC(iv.encode())).encryptor()
    return iv + base64.b64encode(box.update(raw + bytes([pad]) * pad) + box.finalize()).decode()


def decrypted(value: str, bits: int = 256) -> str:
    """The inverse."""
    box = Cipher(algorithms.AES(AES_KEY[: bits // 8]), modes.CBC(value[:16].encode())).decryptor()
    padded = box.update(base64.b64decode(value[16:])) + box.finalize()
    return padded[: -padded[-1]].decode()


def check_body_sign(reply: httpx.Response, key: str = ACCESS_KEY) -> None:
    """Every reply carries the signature of its own bytes."""
    mac = base64.b64encode(hmac.new(key.encode(), reply.content, hashlib.sha256).digest()).decode()
    assert re.fullmatch(
        rf'sign_type="HMAC-SHA256", signature= "{re.escape(mac)}"', reply.headers["Body-Sign"]
    )


class V1Marketplace(Marketplace):
    """KooGallery as it calls V1.0 products."""

    def query(self, activity: str, **parameters: str) -> str:
        """A signed query string, sent now unless `timeStamp` says otherwise."""
        known = {"activity": activity, "timeStamp": stamp(self.clock.now_ms()), **parameters}
        known["authToken"] = token(known)
        return "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in known.items())

    async def get(self, query: str, path: str = "/koogallery") -> httpx.Response:
        """One GET with this very query string; the reply passed the platform's own checks."""
        async with self.client() as client:
            reply = await client.get(f"{path}?{query}" if query else path)
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("application/json")
        assert {"resultCode", "resultMsg"} <= reply.json().keys()
        check_body_sign(reply)
        return reply

    async def v1(self, activity: str, **parameters: str) -> dict[str, Any]:
        """One signed call now; the reply's JSON."""
        answer: dict[str, Any] = (await self.get(self.query(activity, **parameters))).json()
        return answer

    async def v1_create(self, order_id: str, **parameters: str) -> dict[str, Any]:
        """newInstance of an order, with a fresh businessId."""
        known = {
            "orderId": order_id,
            "productId": "TOKENS",
            "customerId": "cust-1",
            "customerName": "买家",
            "businessId": secrets.token_hex(8),
        }
        return await self.v1("newInstance", **known | parameters)

    async def v1_bought(self, order_id: str, **parameters: str) -> str:
        """A provisioned instance's id."""
        answer = await self.v1_create(order_id, **parameters)
        assert answer["resultCode"] == "000000"
        return str(answer["instanceId"])


def app_info(answer: dict[str, Any], bits: int = 256) -> dict[str, str]:
    """The access data of a newInstance reply, opened."""
    assert answer["encryptType"] == {256: "1", 128: "2"}[bits]
    shown: dict[str, str] = dict(answer["appInfo"])
    for name in ("userName", "password"):
        assert len(shown[name]) <= 128
        shown[name] = decrypted(shown[name], bits)
    return shown


def as_text(value: object) -> str:
    """saasExtendParams as the marketplace encodes them, before the URL."""
    return base64.b64encode(json.dumps(value).encode()).decode()
