"""What a request head says about who calls: a customer's API key, or a trusted peer's word. Pure."""

import ipaddress
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from gateway.errors import BadIdentity, Headers, Unauthenticated

CREDENTIAL_HEADERS: Final = frozenset({b"authorization", b"x-api-key", b"api-key"})
IDENTITY_HEADERS: Final = frozenset({b"x-request-id", b"x-customer-id", b"x-customer-name"})

_KEY_BYTES: Final = 512
_ID_LENGTH: Final = 64
_NAME_LENGTH: Final = 256
_REMEMBERED_PEERS: Final = 4096
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Networks:
    """A configured list of networks, asked by the peer's address as text."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._known: dict[str, bool] = {}

    def __contains__(self, peer: str) -> bool:
        if not self._networks:
            return False
        if peer not in self._known:
            if len(self._known) >= _REMEMBERED_PEERS:
                self._known.clear()
            self._known[peer] = self._holds(peer)
        return self._known[peer]

    def _holds(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False  # a Unix socket, or nothing known
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


@dataclass(frozen=True, slots=True)
class TrustedIdentity:
    """Whom somebody who is believed calls for; `request_id` is its own, when it is a UUID."""

    customer_id: str
    customer_name: str
    request_id: str | None


def presented_key(headers: Headers) -> bytes | None:
    """The customer's API key, or None without one.

    Two headers with different keys leave open who pays, so that raises Unauthenticated, as does a
    key longer than any we make.
    """
    keys = {key for name, value in headers if (key := _key_in(name, value))}
    if len(keys) > 1:
        raise Unauthenticated(
            "Send one API key; these headers carry different ones.",
            "请只提供一个 API Key：这些请求头中的 API Key 不一致。",
        )
    key = keys.pop() if keys else None
    if key is not None and len(key) > _KEY_BYTES:
        raise Unauthenticated
    return key


def _key_in(name: bytes, value: bytes) -> bytes | None:
    if name not in CREDENTIAL_HEADERS:
        return None
    if name != b"authorization":
        return value.strip()
    scheme, _, rest = value.strip().partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else None


def trusted_identity(headers: Headers) -> TrustedIdentity | None:
    """The identity headers of somebody who is believed, None when they name no customer.

    Raises BadIdentity.

    Values are read as the gateway writes them: UTF-8, percent-encoded or not.
    """
    ids = _values(headers, b"x-customer-id")
    if not ids:
        return None
    customer_id = ids[0]
    if len(ids) > 1 or not 0 < len(customer_id) <= _ID_LENGTH or _CONTROL.search(customer_id):
        raise BadIdentity
    name = _CONTROL.sub("", "".join(_values(headers, b"x-customer-name")[:1]))[:_NAME_LENGTH]
    return TrustedIdentity(customer_id, name, _uuid(_values(headers, b"x-request-id")))


def _values(headers: Headers, wanted: bytes) -> list[str]:
    return [
        unquote(value.decode("utf-8", "replace")).strip()
        for name, value in headers
        if name == wanted
    ]


def _uuid(values: list[str]) -> str | None:
    if len(values) != 1 or len(values[0]) != 36:
        return None
    try:
        return str(uuid.UUID(values[0]))
    except ValueError:
        return None
