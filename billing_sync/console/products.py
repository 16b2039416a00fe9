"""Product ids: those that are configured, and what the others are metered as."""

from typing import Final

from starlette.responses import Response
from starlette.routing import Route

from billing_sync.console.shell import HOME, Shell, Visit
from billing_sync.errors import MappingRefused, UnknownMapping

_PATH: Final = f"{HOME}/products"


class Products:
    """The routes of product ids."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[Route]:
        """All of them. A product id may hold a slash, so it travels in the form."""
        return [
            self._shell.get("/products", self._list),
            self._shell.post("/products/map", self._map),
            self._shell.post("/products/forget", self._forget),
        ]

    async def _list(self, visit: Visit) -> Response:
        mapped, unmapped = await self._shell.ports.mapper.listed()
        return self._shell.page(
            visit,
            "products.html",
            mapped=mapped,
            unmapped=unmapped,
            catalogue=self._shell.ports.catalogue,
            product_id=visit.asked("id") or "",
        )

    async def _map(self, visit: Visit) -> Response:
        product_id, mapped_to = visit.given("product_id"), visit.given("mapped_to")
        try:
            done = await self._shell.ports.mapper.put(product_id, mapped_to, visit.session.subject)
        except MappingRefused as refusal:
            return self._shell.refused(visit, refusal, _PATH)
        text = visit.texts(
            "console.products.done", id=product_id, to=mapped_to, count=done["instances"]
        )
        return self._shell.done(visit, text, _PATH)

    async def _forget(self, visit: Visit) -> Response:
        product_id = visit.given("product_id")
        try:
            await self._shell.ports.mapper.remove(product_id)
        except UnknownMapping as problem:
            return self._shell.refused(visit, problem, _PATH)
        text = visit.texts("console.products.forgotten", id=product_id)
        return self._shell.done(visit, text, _PATH)
