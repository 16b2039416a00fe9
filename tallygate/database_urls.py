"""What `database:` may say. Nothing that is said about it shows what was given. Pure.

`postgresql+psycopg://user:password@host:5432/database[?options]`; the options are libpq's.
"""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

SCHEME: Final = "postgresql+psycopg"
_WRITE: Final = "write embedded or postgresql+psycopg://user:password@host:5432/database"
_ENCODE: Final = "in a password %, /, ?, # and @ are written %25, %2F, %3F, %23 and %40"
_SECRETS: Final = {"password", "sslpassword"}


def wrong_with(url: str) -> str | None:
    """What to write instead; None for the URL of a database that may be tried."""
    scheme, _, rest = url.partition("://")
    if scheme != SCHEME:
        return _WRITE
    if "#" in rest or not rest.isprintable() or " " in rest:
        return f"{_WRITE}; {_ENCODE}"
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
        options = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
    except ValueError:  # whose text may show a part of a password
        return f"{_WRITE}; {_ENCODE}"
    if parts.netloc.count("@") > 1 or port == 0:
        return f"{_WRITE}; {_ENCODE}"
    if _SECRETS & options.keys():
        return "a password stands before the @, not among the options; others in a passfile"
    if not (host or options.get("host")) or not parts.path.strip("/") or "/" in parts.path[1:]:
        return f"host or database is missing; {_WRITE}"
    return None
