"""The static files, under names that carry a hash of their content, so that browsers may keep them.

An address with another hash is answered 404: a page of an older version asks for its files anew.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER: Final = Path(__file__).parent / "static"
FOR_EVER: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file: its bytes, its media type, and its name with the hash in it."""

    name: str
    content: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Every file by its plain name, such as `vendor/htmx.min.js`. Read once."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            plain = path.relative_to(FOLDER).as_posix()
            found[plain] = Asset(_hashed(plain, content), content, _TYPES[path.suffix])
    return found


def url_of(prefix: str, plain: str) -> str:
    """The address of a file below `prefix`, which ends without a slash. Raises KeyError."""
    return f"{prefix}/{assets()[plain].name}"


def static_route(prefix: str) -> Route:
    """Serves the files below `prefix`."""
    by_name = {asset.name: asset for asset in assets().values()}

    async def static(request: Request) -> Response:
        asset = by_name.get(request.path_params["name"])
        if asset is None:
            return Response("not found\n", 404, media_type="text/plain")
        headers = {"Cache-Control": FOR_EVER, "Content-Type": asset.media_type}
        return Response(asset.content, headers=headers)

    return Route(f"{prefix}/{{name:path}}", static)


def _hashed(plain: str, content: bytes) -> str:
    stem, _, suffix = plain.rpartition(".")
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
