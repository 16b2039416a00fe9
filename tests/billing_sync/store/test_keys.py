"""Keys of customers in the ledger: made, rotated with overlap, revoked, used."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from billing_sync.asking import KeyPage
from billing_sync.errors import KeyRefused, UnknownCustomer, UnknownKey
from billing_sync.key_making import MadeKey
from billing_sync.key_models import ApiKey
from billing_sync.key_terms import KeyAsked, RotationAsked
from billing_sync.models import CustomerRow
from billing_sync.store import keys
from billing_sync.store.customers import ensure, sealed_keys
from billing_sync.store.engine import reading, writing
from billing_sync.store.projections import pending_projections, snapshots
from metering.entitlement import EntitledKey
from tests.fakes import Ids

AT = 1_790_000_000_000
HOUR = 3_600_000
new_digest = Ids("digest")


@pytest.fixture(autouse=True)
def customer(engine: Engine) -> None:
    with writing(engine) as session:
        session.add(CustomerRow(id="c", name="C"))


def made() -> MadeKey:
    digest = new_digest()
    return MadeKey(digest, f"sealed {digest}", "tg-abc…")


def create(engine: Engine, at: int = AT, **said: Any) -> int:
    with writing(engine) as session:
        key = keys.create(session, KeyAsked("c", **said), made(), at)
        assert key.id is not None
        return key.id


def rotate(
    engine: Engine, key_id: int, at: int = AT, overlap_ms: int = HOUR, expires: int | None = None
) -> int:
    with writing(engine) as session:
        key = keys.rotate(session, key_id, RotationAsked(overlap_ms, expires), made(), at)
        assert key.id is not None
        return key.id


def revoke(engine: Engine, key_id: int, at: int = AT) -> None:
    with writing(engine) as session:
        keys.revoke(session, key_id, at)


def of(session: Session, key_id: int) -> ApiKey:
    return session.get_one(ApiKey, key_id)


def key(engine: Engine, key_id: int) -> ApiKey:
    with reading(engine) as session:
        return of(session, key_id)


def projected(engine: Engine) -> tuple[EntitledKey, ...]:
    with reading(engine) as session:
        (snapshot,) = snapshots(session, ["c"])
        return snapshot.keys


def waiting(engine: Engine) -> int:
    """How often gateways have to be told."""
    with reading(engine) as session:
        return sum(row.since for row in pending_projections(session, 10))


def test_a_key_with_an_end_and_routes(engine: Engine) -> None:
    """As the gateways are told; the key is not kept where nobody asked for it to be delivered."""
    key_id = create(engine, name="laptop", expires=AT + HOUR, routes=("chat", "语音"))
    (told,) = projected(engine)
    assert told == EntitledKey(str(key_id), told.digest, AT + HOUR, ("chat", "语音"))
    assert (key(engine, key_id).sealed, key(engine, key_id).shown) == ("", "tg-abc…")
    assert waiting(engine)
    assert key(engine, create(engine, deliver=True)).sealed


def test_for_nobody(engine: Engine) -> None:
    """A customer has to be known first."""
    with pytest.raises(UnknownCustomer, match="'x'"), writing(engine) as session:
        keys.create(session, KeyAsked("x"), made(), AT)


def test_both_keys_are_good_for_a_while(engine: Engine) -> None:
    """The new one has the old one's name, scope and end."""
    old = create(engine, name="laptop", routes=("chat",), expires=AT + 9 * HOUR)
    new = rotate(engine, old, at=AT + 1)
    one, two = projected(engine)
    assert (one.expires, two.expires) == (AT + 1 + HOUR, AT + 9 * HOUR)
    assert (one.routes, two.routes) == (("chat",), ("chat",))
    assert key(engine, new).name == "laptop"
    assert key(engine, old).replaced_by == new


@pytest.mark.parametrize(
    ("expires", "overlap_ms", "end"),
    [(0, HOUR, AT + HOUR), (0, 0, AT), (AT + 5, HOUR, AT + 5), (AT + 2 * HOUR, HOUR, AT + HOUR)],
)
def test_an_overlap_never_prolongs(engine: Engine, expires: int, overlap_ms: int, end: int) -> None:
    """The old key's own end stays, if it comes first."""
    old = create(engine, expires=expires)
    rotate(engine, old, overlap_ms=overlap_ms)
    assert key(engine, old).expires == end


def test_the_new_key_may_have_another_end(engine: Engine) -> None:
    """Also where the old one has expired, which needs one."""
    old = create(engine, expires=AT + 1)
    with pytest.raises(KeyRefused, match="has expired"):
        rotate(engine, old, at=AT + 1)
    new = rotate(engine, old, at=AT + 1, expires=0)
    assert (key(engine, old).expires, key(engine, new).expires) == (AT + 1, 0)


def test_what_cannot_be_rotated(engine: Engine) -> None:
    """A key of the past, and none at all; nothing is made."""
    old = create(engine)
    new = rotate(engine, old)
    with pytest.raises(KeyRefused, match=f"replaced by key {new}"):
        rotate(engine, old)
    revoke(engine, new)
    with pytest.raises(KeyRefused, match="revoked"):
        rotate(engine, new)
    with pytest.raises(UnknownKey, match="999"):
        rotate(engine, 999)
    with pytest.raises(UnknownKey, match="999"):
        revoke(engine, 999)
    with reading(engine) as session:
        assert len(keys.listed(session, KeyPage(None, None, 10))) == 2


def test_a_revoked_key_lets_nobody_in(engine: Engine) -> None:
    """Nor is it delivered any more; again changes nothing, not even the time."""
    key_id = create(engine, deliver=True)
    revoke(engine, key_id)
    told = waiting(engine)
    revoke(engine, key_id, at=AT + 5)
    assert projected(engine) == ()
    assert (key(engine, key_id).revoked, key(engine, key_id).sealed) == (AT, "")
    assert waiting(engine) == told


def test_the_buyer_finds_the_rotated_key(engine: Engine) -> None:
    """Where he found the old one, and at once; a further key of an operator does not hide it."""
    with writing(engine) as session:
        ensure(session, "c", "C", MadeKey("first", "sealed first"), AT)
        (first,) = keys.listed(session, KeyPage("c", None, 10))
    assert first.id is not None
    new = rotate(engine, first.id)
    create(engine)
    with reading(engine) as session:
        assert sealed_keys(session, ["c"], AT) == {"c": of(session, new).sealed}
        assert of(session, first.id).sealed == ""


def test_an_expired_key_is_not_delivered(engine: Engine) -> None:
    """An older one that is still good is."""
    for expires in (0, AT + 1):
        create(engine, deliver=True, expires=expires)
    with reading(engine) as session:
        before, after = (sealed_keys(session, ["c"], at)["c"] for at in (AT, AT + 1))
    assert before != after


def test_a_buyer_gets_his_key_beside_those_of_an_operator(engine: Engine) -> None:
    """The marketplace has delivered none yet; a rotated one is his first one still."""
    create(engine)
    for _ in range(2):
        with writing(engine) as session:
            ensure(session, "c", "C", made(), AT)
    with reading(engine) as session:
        (mine,) = [k for k in keys.listed(session, KeyPage("c", None, 10)) if k.sealed]
    assert mine.id is not None
    revoke(engine, rotate(engine, mine.id))
    revoke(engine, mine.id)
    with writing(engine) as session:
        ensure(session, "c", "C", made(), AT)
    with reading(engine) as session:
        assert sealed_keys(session, ["c"], AT) == {}


def test_there_are_not_too_many(engine: Engine) -> None:
    """Every worker holds all of them; expired ones make room, the oldest first."""
    ids = [create(engine, expires=AT + 1 if n < 2 else 0) for n in range(keys.MOST_KEYS)]
    with pytest.raises(KeyRefused, match="revoke those"):
        create(engine)
    with pytest.raises(KeyRefused, match="revoke those"):
        rotate(engine, ids[5])
    create(engine, at=AT + 1)
    assert [bool(key(engine, i).revoked) for i in ids[:3]] == [True, False, False]
    assert len(projected(engine)) == keys.MOST_KEYS
    revoke(engine, ids[50])
    create(engine, at=AT + 1)
    create(engine, at=AT + 1)
    with pytest.raises(KeyRefused):
        create(engine, at=AT + 1)


def test_uses_only_grow(engine: Engine) -> None:
    """Whoever tells them; none is later than now."""
    for uses in ({"1": 10, "cabc": 20}, {"1": 5, "2": 7}, {"cabc": 900}, {}):
        with writing(engine) as session:
            keys.take_in(session, uses, 100)
    with reading(engine) as session:
        assert keys.last_uses(session, ["1", "2", "3", "cabc"]) == {"1": 10, "2": 7, "cabc": 100}


def test_lists_go_by_pages(engine: Engine) -> None:
    """In the order the keys were made."""
    with writing(engine) as session:
        session.add(CustomerRow(id="d"))
        session.flush()
        keys.create(session, KeyAsked("d"), made(), AT)
    ids = [create(engine) for _ in range(3)]
    with reading(engine) as session:
        first = keys.listed(session, KeyPage("c", None, 2))
        rest = keys.listed(session, KeyPage("c", first[-1].id, 2))
        everybody = keys.listed(session, KeyPage(None, None, 9))
    assert [row.id for row in [*first, *rest]] == ids
    assert len(everybody) == 4


def test_who_comes_second_is_told(engine: Engine) -> None:
    """Of several who rotate a key at once one does; the others make none."""
    old = create(engine)

    def try_to() -> bool:
        try:
            rotate(engine, old)
        except KeyRefused:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(done.result() for done in [pool.submit(try_to) for _ in range(6)]) == 1
    assert len(projected(engine)) == 2
