"""API keys: made, rotated, revoked. A new key stands on one page only, the answer to whoever made it."""

from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from billing_sync.asking import KeyPage
from billing_sync.console.shell import HOME, Shell, Visit
from billing_sync.errors import BadQuestion, KeyRefused, UnknownCustomer, UnknownKey
from billing_sync.key_terms import key_asked, rotation_asked

_PATH: Final = f"{HOME}/keys"
_PAGE: Final = 50
TONES: Final = {"active": "good", "replaced": "wait", "expired": "quiet", "revoked": "quiet"}
_FAULTS: Final = (BadQuestion, KeyRefused, UnknownCustomer, UnknownKey)


class Keys:
    """The routes of keys."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._ring = shell.ports.keys

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            self._shell.get("/keys", self._list),
            self._shell.post("/keys", self._create),
            self._shell.post("/keys/{key_id}/rotate", self._rotate),
            self._shell.post("/keys/{key_id}/revoke", self._revoke),
        ]

    async def _list(self, visit: Visit) -> Response:
        after, customer_id = visit.asked("after"), visit.asked("customer")
        page = KeyPage(customer_id, _number(after), _PAGE)
        rows = await self._ring.page(page)
        configured = await self._ring.configured(customer_id) if after is None else []
        return self._shell.page(
            visit,
            "keys.html",
            rows=rows,
            configured=configured[: 2 * _PAGE],
            next=rows[-1]["id"] if len(rows) == _PAGE else None,
            first=after is None,
            customer_id=customer_id or "",
            tones=TONES,
        )

    async def _create(self, visit: Visit) -> Response:
        now_ms = self._shell.ports.clock.now_ms()
        routes = [each for part in visit.given("routes").split(",") if (each := part.strip())]
        try:
            asked = key_asked(
                visit.given("customer_id"),
                visit.given("name"),
                visit.given("expires") or None,
                routes,
                now_ms,
                deliver=False,
            )
            made = await self._ring.create(asked)
        except _FAULTS as problem:
            return self._shell.refused(visit, problem, _PATH)
        return self._shell.page(visit, "key_made.html", 201, key=made.key, row=made.row)

    async def _rotate(self, visit: Visit) -> Response:
        now_ms = self._shell.ports.clock.now_ms()
        try:
            asked = rotation_asked(visit.given("overlap") or None, None, now_ms)
            made = await self._ring.rotate(visit.request.path_params["key_id"], asked)
        except _FAULTS as problem:
            return self._shell.refused(visit, problem, _PATH)
        return self._shell.page(visit, "key_made.html", 201, key=made.key, row=made.row)

    async def _revoke(self, visit: Visit) -> Response:
        try:
            row = await self._ring.revoke(visit.request.path_params["key_id"])
        except _FAULTS as problem:
            return self._shell.refused(visit, problem, _PATH)
        text = visit.texts("console.keys.revoked", id=row["id"], customer=row["customer_id"])
        return self._shell.done(visit, text, _PATH)


def _number(after: str | None) -> int | None:
    if after is None:
        return None
    if after.isascii() and after.isdigit() and len(after) < 10:
        return int(after)
    raise BadQuestion("after is no place in this list; begin at the first page")
