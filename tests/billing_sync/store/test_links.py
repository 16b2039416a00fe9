"""What a link opens, in the ledger: as long as it is not over and not revoked, and nobody else's."""

from typing import Any

import pytest
from sqlalchemy import Engine

from billing_sync.errors import BadLink, UnknownCustomer
from billing_sync.link_tokens import Link
from billing_sync.models import CustomerRow, Instance
from billing_sync.store import links
from billing_sync.store.engine import reading, writing
from billing_sync.store.links import Opened
from tests.billing_sync.books import CATALOGUE

AT = 1_790_000_000_000
DAY = 86_400_000
KEEP = 15 * DAY


def sold(instance_id: str, customer_id: str, product_id: str, **columns: Any) -> Instance:
    product = CATALOGUE[product_id]
    given: dict[str, Any] = {
        "started": AT,
        "status": "active",
        "is_package": product.is_package,
    } | columns
    return Instance(id=instance_id, customer_id=customer_id, product_id=product_id, **given)


@pytest.fixture(autouse=True)
def books(engine: Engine) -> None:
    with writing(engine) as session:
        session.add_all([CustomerRow(id="c"), CustomerRow(id="d")])
        session.add_all(
            [
                sold("i", "c", "TOKENS"),
                sold("k", "c", "CALLS"),
                sold("pack", "c", "PACK"),
                sold("of-d", "d", "TOKENS"),
                sold("pack-of-d", "d", "PACK"),
            ]
        )


def opened(engine: Engine, link: Link, now_ms: int = AT) -> Opened:
    with reading(engine) as session:
        return links.opened(session, link, CATALOGUE, now_ms, KEEP)


def test_everything_of_a_customer(engine: Engine) -> None:
    """Until the link's end."""
    link = Link("c", "", AT // 1000 + 60)
    assert opened(engine, link).instances is None
    with pytest.raises(BadLink):
        opened(engine, link, AT + 60_000)
    with pytest.raises(BadLink):
        opened(engine, Link("c"))  # without one


def test_one_instance(engine: Engine) -> None:
    """With the packages for its billing item; of a package with what it is for. Of nobody else."""
    assert opened(engine, Link("c", "i")).instances == frozenset({"i", "pack"})
    assert opened(engine, Link("c", "k")).instances == frozenset({"k"})
    assert opened(engine, Link("c", "pack")).instances == frozenset({"i", "pack"})
    for strange in (Link("c", "of-d"), Link("d", "i"), Link("c", "?"), Link("nobody", "i")):
        with pytest.raises(BadLink):
            opened(engine, strange)


def test_revoked(engine: Engine) -> None:
    """All links of the customer at once, each time; the next ones are good. Nobody else's."""
    for revision in range(3):
        link = Link("c", "i", 0, revision)
        opened(engine, link)
        with writing(engine) as session:
            assert links.revoke(session, "c", AT) == revision + 1
        with pytest.raises(BadLink):
            opened(engine, link)
    opened(engine, Link("d", "of-d"))
    with reading(engine) as session:
        assert links.revisions(session, ["c", "d"]) == {"c": 3}
    with pytest.raises(UnknownCustomer), writing(engine) as session:
        links.revoke(session, "nobody", AT)


def test_as_long_as_the_instance(engine: Engine) -> None:
    """And as its data are kept after the release: what the marketplace holds ends by itself."""
    with writing(engine) as session:
        session.get_one(Instance, "i").released = AT
    opened(engine, Link("c", "i"), AT + KEEP - 1)
    with pytest.raises(BadLink):
        opened(engine, Link("c", "i"), AT + KEEP)
    with writing(engine) as session:
        session.get_one(Instance, "i").erased = AT + 1
    with pytest.raises(BadLink):
        opened(engine, Link("c", "i", AT // 1000 + 60), AT + 2)
