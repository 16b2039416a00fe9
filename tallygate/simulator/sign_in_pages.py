"""The pages of the authentication centre: who are you? No scripts, nothing from elsewhere. Pure."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from .directory import App, Person, Tenant

MOST_SHOWN: Final = 200
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:3rem auto;padding:0 1rem}"
    "button{font:inherit;display:block;width:100%;text-align:left;margin:.5rem 0;padding:.5rem 1rem}"
)


def login_page(tenant: Tenant) -> str:
    """A button for each person who may sign in."""
    buttons = "".join(_button(person, "") for person in _able(tenant.people.values()))
    body = f'<form method="post">{buttons or "<p>Nobody is in this company.</p>"}</form>'
    return _page(f"Sign in to {escape(tenant.name)}", body)


def portal_page(apps: Sequence[tuple[Tenant, App]]) -> str:
    """The workplace of every tenant: a button for each person and app."""
    body = ""
    for tenant, app in apps[:MOST_SHOWN]:
        hidden = _hidden("tenant_id", tenant.tenant_id) + _hidden("app_id", app.app_id)
        people = _able(tenant.people.values())
        buttons = "".join(_button(person, app.app_id) for person in people)
        title = f"<h2>{escape(tenant.name)}</h2>"
        body += f'{title}<form method="post">{hidden}{buttons}</form>'
    return _page("Workplace", body or "<p>There is no app yet.</p>")


def message_page(title: str, text: str) -> str:
    """A sentence."""
    return _page(escape(title), f"<p>{escape(text)}</p>")


def _able(people: Iterable[Person]) -> list[Person]:
    return [person for person in people if person.enabled][:MOST_SHOWN]


def _button(person: Person, about: str) -> str:
    shown = f"{person.name} ({person.user_name}, {person.role})" + (f": {about}" if about else "")
    name = escape(person.user_name, quote=True)
    return f'<button name="user_name" value="{name}">{escape(shown)}</button>'


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value, quote=True)}">'


def _page(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{title}</h1>{body}</body></html>'
