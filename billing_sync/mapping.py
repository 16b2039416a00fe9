"""What product ids that nobody configured are metered as, as an operator decides it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlmodel import Session

from billing_sync.errors import MappingRefused, UnknownMapping
from billing_sync.market_models import ProductMapping
from billing_sync.store import mappings
from billing_sync.store.mappings import Unmapped
from billing_sync.store.worker import SqlWorker
from metering.catalogue import Catalogue, Identifier
from metering.clock import Clock

EVERY_MS: Final = 60_000
_ID: Final = TypeAdapter(Identifier)
_LONGEST: Final = 64  # of an author


def shown(rows: Sequence[ProductMapping], unmapped: Sequence[Unmapped]) -> dict[str, Any]:
    """As they are shown: the mappings in `data`, and in `unmapped` what was sold and lacks one."""
    return {
        "data": [row.model_dump() for row in rows],
        "unmapped": [each._asdict() for each in unmapped],
    }


@dataclass
class Mapper:
    """Keeps the mappings, and meters by them what was sold before they were made."""

    sql: SqlWorker
    catalogue: Catalogue
    clock: Clock
    on_change: Callable[[], None]
    _looked_ms: int = 0

    async def listed(self) -> tuple[Sequence[ProductMapping], list[Unmapped]]:
        """All mappings, and the ids that lack one. Raises SQLAlchemyError."""
        return await self.sql.read(
            lambda session: (
                mappings.listed(session),
                mappings.unmapped(session, self.catalogue),
            )
        )

    async def put(self, product_id: str, mapped_to: str, author: str) -> dict[str, Any]:
        """Meter `product_id` as the configured product `mapped_to`, from its next order on and for
        instances that wait under it; the row, and how many `instances` those are.

        Raises MappingRefused, SQLAlchemyError.
        """
        self._check(product_id, mapped_to, author)
        now = self.clock.now_ms()
        row = ProductMapping(product_id=product_id, mapped_to=mapped_to, author=author, at=now)

        def job(session: Session) -> int:
            mappings.put(session, row)
            return mappings.take_up(session, self.catalogue, now)

        taken = total = await self.sql.write(job)
        while taken:
            taken = await self._take_up()
            total += taken
        if total:
            self.on_change()
        return {
            "product_id": product_id,
            "mapped_to": mapped_to,
            "author": author,
            "at": now,
            "instances": total,
        }

    async def remove(self, product_id: str) -> dict[str, Any]:
        """Forget a mapping; instances that are metered by it stay as they are.

        Raises UnknownMapping, SQLAlchemyError.
        """
        row = None
        if product_id.isprintable():  # what is not was never mapped, and SQL need not take it
            row = await self.sql.write(partial(mappings.remove, product_id=product_id))
        if row is None:
            raise UnknownMapping(f"product {product_id} is not mapped")
        return row.model_dump()

    async def run(self) -> int:
        """Once a minute: instances that were sold while their mapping was made. Raises
        SQLAlchemyError."""
        now = self.clock.now_ms()
        if 0 <= now - self._looked_ms < EVERY_MS:
            return 0
        taken = await self._take_up()
        self._looked_ms = now
        if taken:
            self.on_change()
        return taken

    async def _take_up(self) -> int:
        now = self.clock.now_ms()
        return await self.sql.write(partial(mappings.take_up, catalogue=self.catalogue, at=now))

    def _check(self, product_id: str, mapped_to: str, author: str) -> None:
        try:
            _ID.validate_python(product_id)
        except ValidationError:
            raise MappingRefused("a product id has 1 to 64 printable characters") from None
        if product_id in self.catalogue:
            raise MappingRefused(f"{product_id} is in `products:` and needs no mapping")
        if mapped_to not in self.catalogue:
            known = ", ".join(sorted(self.catalogue)[:20]) or "none"
            raise MappingRefused(f"{mapped_to[:64]} is not in `products:`; known are {known}")
        if not author or len(author) > _LONGEST or not author.isprintable():
            raise MappingRefused(f"author: say who decides it, in up to {_LONGEST} characters")
