"""The joint-operation Kit as tests play it: signed calls of both versions below the production address.

Signing and encrypting are written out by hand here, from the specification, so that they can disagree
with ours.
"""

import base64
import hashlib
import hmac
import json
import secrets
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from sqlalchemy import Engine
from starlette.applications import Starlette

from billing_sync import callbacks, kit_callbacks
from billing_sync.kit_callbacks import KitService
from billing_sync.settings import KooGallerySettings
from billing_sync.store.engine import reading
from billing_sync.store.kit_access import KitAccess, access_of
from billing_sync.store.worker import SqlWorker
from tests.billing_sync.marketplace import ACCESS_KEY, SECRET
from tests.billing_sync.v1_marketplace import V1Marketplace, check_body_sign, token

KIT_KEY = "00000000-0000-4000-8000-00000000c1d2"
HOUR_MS = 3_600_000


@cache
def rsa_key(bits: int = 3072) -> rsa.RSAPrivateKey:
    """Made once: it takes its time."""
    return rsa.generate_private_key(65537, bits)


def pem_of(key: Any) -> bytes:
    """As `openssl genpkey` writes it."""
    made: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made


def encrypted(secret: str, label: Any = hashes.SHA256, mask: Any = hashes.SHA256) -> str:
    """A client secret as the marketplace sends it."""
    oaep = padding.OAEP(padding.MGF1(mask()), label(), None)
    return base64.b64encode(rsa_key().public_key().encrypt(secret.encode(), oaep)).decode()


def beijing(at_ms: int) -> str:
    """`yyyyMMddHHmmssSSS`, UTC+8."""
    local = datetime.fromtimestamp(at_ms // 1000 + 8 * 3600, UTC)
    return f"{local:%Y%m%d%H%M%S}{at_ms % 1000:03}"


def x_sign(raw: bytes, timestamp: str, nonce: str, key: str = KIT_KEY) -> str:
    """No hash of the body in between, other than in base calls."""
    text = (key + nonce + timestamp).encode() + raw
    return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()


def person(user_name: str, **fields: object) -> dict[str, Any]:
    """A user as V2.0 sends one."""
    return {
        "userName": user_name,
        "name": f"Name of {user_name}",
        "orgCode": "o1",
        "role": "user",
        "enable": "true",
        "mobile": "13800000000",
    } | fields


class KitMarketplace(V1Marketplace):
    """KooGallery as it calls joint-operation products. `instance` is what bodies name by themselves."""

    def __init__(self, engine: Engine, folder: Path, **settings: Any) -> None:
        super().__init__(engine, **settings)
        self.key_file = folder / "kit.pem"
        self.key_file.write_bytes(pem_of(rsa_key()))
        given = {
            "access_key": ACCESS_KEY,
            "kit_key": KIT_KEY,
            "private_key_file": str(self.key_file),
        }
        self.kit = KitService(
            SqlWorker(engine),
            KooGallerySettings.model_validate(given | settings),
            SECRET,
            self.clock,
            secrets.token_bytes,
        )
        self.app = Starlette(
            routes=[*callbacks.routes(self.service), *kit_callbacks.routes(self.kit)]
        )
        self.instance = ""

    def body(self, sync: str, **fields: object) -> dict[str, Any]:
        """A complete body, said now; a field that is None is left out."""
        self.clock.advance(ms=1)
        now = beijing(self.clock.now_ms())
        common = {"instanceId": self.instance, "tenantId": "t1", "testFlag": 0, "timeStamp": now}
        own: dict[str, dict[str, Any]] = {
            "tenantSync": {
                "orderId": "CS1",
                "tenantCode": "acme",
                "name": "Acme",
                "domainName": "https://acme.example.com",
                "flag": 1,
            },
            "applicationSync": {
                "appId": "a1",
                "clientId": "client-1",
                "clientSecret": encrypted("s3cret"),
                "flag": 1,
            },
            "authSync": {
                "appId": "a1",
                "userList": [person("li.na")],
                "currentSyncTime": now,
                "flag": 1,
            },
            "singleOrgSync": {"orgCode": "o1", "orgName": "Sales", "parentCode": "", "flag": 1},
            "allOrgSync": {
                "orgInfoList": json.dumps([{"orgCode": "o1", "orgName": "Sales", "parentCode": ""}])
            },
        }
        made = common | own[sync] | fields
        return {name: value for name, value in made.items() if value is not None}

    async def v2(self, sync: str, **fields: object) -> str:
        """One signed call of V2.0 now; the result code."""
        return str((await self.post_v2(sync, self.body(sync, **fields))).json()["resultCode"])

    async def post_v2(
        self, sync: str, body: Any, *, prefix: str = "/koogallery", **headers: str
    ) -> httpx.Response:
        """The same with any body; `headers` replace what would be right, `_` standing for `-`."""
        raw = body if isinstance(body, bytes) else packed(body)
        stamp, nonce = str(self.clock.now_ms()), secrets.token_hex(16)
        right = {"x-timestamp": stamp, "x-nonce": nonce, "x-sign": x_sign(raw, stamp, nonce)}
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._post(f"{prefix}/produceAPI/v2/{sync}", raw, right | changed)

    async def kit_v1(self, sync: str, **fields: object) -> str:
        """One call of V1.0 now, whose lists are strings; the result code."""
        body = self.body(sync, **fields)
        texts = {
            name: value if isinstance(value, str | int) else packed(value).decode()
            for name, value in body.items()
        }
        return str((await self.post_v1(sync, texts)).json()["resultCode"])

    async def post_v1(
        self, sync: str, body: Any, *, auth: str | None = None, prefix: str = "/koogallery"
    ) -> httpx.Response:
        """The same with any body and, if given, any token."""
        proof = token({name: str(value) for name, value in body.items()}, KIT_KEY)
        headers = {"authToken": proof if auth is None else auth}
        return await self._post(f"{prefix}/produceAPI/{sync}", packed(body), headers)

    async def _post(self, path: str, raw: bytes, headers: dict[str, str]) -> httpx.Response:
        """The reply passed the platform's own checks."""
        async with self.client() as client:
            kind = {"Content-Type": "application/json"}
            reply = await client.post(path, content=raw, headers=kind | headers)
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("application/json")
        assert {"resultCode", "resultMsg"} <= reply.json().keys()
        check_body_sign(reply, KIT_KEY)
        return reply

    async def settled(self) -> str:
        """An instance with a tenant, an application and a person; its id."""
        self.instance = await self.bought("CS1")
        for sync in ("tenantSync", "applicationSync", "authSync"):
            assert await self.v2(sync) == "000000"
        return self.instance

    def access(
        self, user_name: str = "li.na", app_id: str | None = None, tenant_id: str = "t1"
    ) -> KitAccess | None:
        """What a person may see now."""
        with reading(self.engine) as session:
            return access_of(session, tenant_id, app_id, user_name)


def packed(value: Any) -> bytes:
    """Compact, keys ascending on top, as it is signed."""
    ordered = dict(sorted(value.items())) if isinstance(value, dict) else value
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()
