"""What `database:` may say. Nothing that is said about it shows what was given. Pure.

`postgresql+psycopg://user:password@host:5432/database[?options]`; the options are libpq's.
"""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

SCHEME: Final = "postgresql+psycopg"
_WRITE: Final = (
    "write embedded, or postgresql+psycopg://host:5432/database with user:password@ before the host"
)
_ENCODE: Final = "in a password %, /, ?, # and @ are written %25, %2F, %3F, %23 and %40"
_SECRETS: Final = {"password", "sslpassword"}


def wrong_with(url: str) -> str | None:
    """What to write instead; None for the URL of a database that may be tried."""
    scheme, _, rest = url.partition("://")
    if scheme != SCHEME:
        return _WRITE
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
        options = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
    except ValueError:  # whose text may show a part of a password
        return f"{_WRITE}; {_ENCODE}"
    readable = rest.isprintable() and not {"#", " "} & {*rest}
    if not readable or parts.netloc.count("@") > 1 or port == 0:
        return f"{_WRITE}; {_ENCODE}"
    if _SECRETS & options.keys():
        return "a password stands before the @, not among the options; others in a passfile"
    named = host or options.get("host")
    whole = named and parts.path.strip("/") and "/" not in parts.path[1:]
    return None if whole else f"host or database is missing; {_WRITE}"
