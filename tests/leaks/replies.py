"""What is looked for in answers and in what processes log. Pure."""

import html
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

import httpx

from tests.leaks.customers import Person

_FAULTS = ("traceback (most recent", 'file "/', ".py:", "sqlalchemy", "uvicorn", "starlette")
PERSONAL = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def said(reply: httpx.Response) -> str:
    """The whole answer, headers too, as it is and as a browser reads it; without the address that was
    asked for, which whoever asked knows. In small letters."""
    head = "\n".join(f"{name}: {value}" for name, value in reply.headers.multi_items())
    text = f"{head}\n\n{reply.content.decode('utf-8', 'replace')}"
    asked = reply.request.url
    path = asked.raw_path.decode()
    for own in (path, quote(path, safe=""), asked.path, quote(asked.path, safe="")):
        if own.strip("/"):
            text = text.replace(own, "")
    return "\n".join((text, html.unescape(text), unquote(text))).lower()


def leaked(text: str, people: Iterable[Person]) -> list[str]:
    """Marks of these people; numbers only where they stand by themselves."""
    marks = [mark for person in people for mark in person.marks()]
    return [mark for mark in marks if re.search(rf"(?<![0-9]){re.escape(mark)}(?![0-9])", text)]


def secrets_in(text: str, secrets: Mapping[str, str]) -> list[str]:
    """The names of those that are told."""
    return [name for name, secret in secrets.items() if secret.lower() in text.lower()]


def faults(reply: httpx.Response) -> list[str]:
    """What an answer tells of our workings."""
    text = said(reply)
    found = [fault for fault in _FAULTS if fault in text]
    found += [name for name in ("server", "x-powered-by") if name in reply.headers]
    if reply.status_code >= 500 and reply.status_code != 501:
        found.append(f"status {reply.status_code}")
    return found


def unguarded(reply: httpx.Response, *, kept: bool = False) -> list[str]:
    """What its headers lack; `kept` files may stay in caches."""
    wanted = {
        name: value for name, value in PERSONAL.items() if name != "cache-control" or not kept
    }
    lacking = [name for name, value in wanted.items() if reply.headers.get(name) != value]
    kind = reply.headers.get("content-type", "")
    if kind.startswith("text/html") and "default-src 'none'" not in reply.headers.get(
        "content-security-policy", ""
    ):
        lacking.append("content-security-policy")
    return lacking
