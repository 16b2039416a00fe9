"""What both planes have in common: their sockets, where they say that they listen."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from tallygate.addresses import parse_address, shifted
from tallygate.config_schema import Config
from tallygate.installation import Installation
from tallygate.listeners import address_of, bind

log = logging.getLogger("tallygate")

CONTROL_DRAIN_S: Final = 5.0


class Sockets(NamedTuple):
    """The two listeners of a plane, bound."""

    public: socket.socket
    admin: socket.socket


def bind_plane(public: str, admin: str) -> Sockets:
    """Bind both listeners of a plane. Raises OSError naming the address."""
    first = bind(parse_address(public))
    try:
        return Sockets(first, bind(parse_address(admin)))
    except OSError:
        first.close()
        raise


def bind_all(config: Config) -> dict[str, Sockets]:
    """The listeners of every process by name: `control`, `gateway`, `gateway-1`, `gateway-2`, …

    All gateway workers accept on one public socket; each has an admin listener of its own. Raises
    OSError naming the address.
    """
    gateway = config.gateway
    found: dict[str, Sockets] = {}
    with ExitStack() as bound:
        for name, section in (("control", config.control), ("gateway", gateway)):
            found[name] = bind_plane(section.listen, section.admin_listen)
            bound.push(found[name].public)
            bound.push(found[name].admin)
        for worker in range(1, gateway.workers):
            admin = bind(shifted(parse_address(gateway.admin_listen), worker))
            found[f"gateway-{worker}"] = Sockets(
                found["gateway"].public, bound.enter_context(admin)
            )
        bound.pop_all()
    return found


@contextmanager
def announced(
    installation: Installation, name: str, sockets: Sockets, *, tls: bool
) -> Iterator[None]:
    """While it serves, `data_dir/run/<name>.json` says where: for scripts, and for port 0."""
    said = addresses(sockets, tls=tls) | {"pid": os.getpid()}
    path = _announcements(installation) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{name}.{os.getpid()}")
    draft.write_text(json.dumps(said) + "\n")
    draft.replace(path)
    try:
        yield
    finally:
        _take_down(path, said)


def somebody_announced(installation: Installation) -> bool:
    """Whether any process serves, or was killed while it did."""
    return any(_announcements(installation).glob("*.json"))


def announcements(installation: Installation) -> dict[str, dict[str, Any]]:
    """Who serves, by name: what each said of itself. One that was killed may still be there."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(_announcements(installation).glob("*.json")):
        with suppress(OSError, ValueError):  # gone, or not of ours
            found[path.stem] = json.loads(path.read_text())
    return found


def _announcements(installation: Installation) -> Path:
    return installation.data_dir / "run"


def _take_down(path: Path, said: dict[str, Any]) -> None:
    """Remove the announcement, unless a successor has made its own."""
    try:
        if json.loads(path.read_text()) == said:
            path.unlink()
    except (OSError, ValueError):
        log.debug("%s is gone already", path)


def addresses(sockets: Sockets, *, tls: bool) -> dict[str, Any]:
    """The URLs of a plane's listeners."""
    scheme = "https" if tls else "http"
    return {
        "public": f"{scheme}://{address_of(sockets.public)}",
        "admin": f"http://{address_of(sockets.admin)}",
    }
