"""Listen addresses as they stand in the configuration: `host:port`, IPv6 in brackets. Pure."""

import ipaddress
from typing import Final, NamedTuple

HIGHEST_PORT: Final = 65_535
_HINT = "write host:port, such as 127.0.0.1:8080 or [::1]:8080"


class Address(NamedTuple):
    """Where a listener binds. `host` has no brackets; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`"127.0.0.1:8080"` as host and port. Raises ValueError with what to write instead."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{text!r} is not an address; {_HINT}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= HIGHEST_PORT):
        raise ValueError(f"{text!r} has no port between 0 and 65535; {_HINT}")
    return Address(_host(host), int(port))


def shifted(address: Address, steps: int) -> Address:
    """The address so many ports further up; port 0 stays, for the system chooses each of them."""
    return address._replace(port=address.port and address.port + steps)


def is_this_machine(host: str) -> bool:
    """Whether a host, without brackets, is the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        return str(ipaddress.IPv6Address(text[1:-1]))
    if ":" in text:
        raise ValueError(f"an IPv6 address needs brackets: [{text}]; {_HINT}")
    if not text.isprintable() or any(character in " /@[]" for character in text):
        raise ValueError(f"{text!r} is not a host; {_HINT}")
    return text
