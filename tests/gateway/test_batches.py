"""Calls let in together leave their limits as calls let in one by one would."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.batches import SIZE, Batch, batch_of
from gateway.brakes import TOKENS, Brake, Brakes
from gateway.desk import Desk
from gateway.estimates import Mean
from gateway.holds import Hold
from gateway.purse import PackagePurse, RatePurse, SlotsPurse
from metering.lending import Lent, PackageAsk, RateAsk, SlotsAsk
from metering.usage import Grade, Quantity

PLENTY = 10_000_000


def rate(spare: int = PLENTY) -> RatePurse:
    purse = RatePurse("rate", 0, PLENTY, 1000, PLENTY)
    purse.told(RateAsk("rate", PLENTY, 1000, PLENTY, 0, spare), Lent("ok", spare, 0), 0.0, 0.0)
    return purse


def package(spare: int = PLENTY) -> PackagePurse:
    purse = PackagePurse("account", 0, TOKENS)
    lent = Lent("ok", spare, 0, life_ms=10_000)
    purse.told(PackageAsk("account", 0, spare, 1), lent, 0.0, 0.0)
    return purse


def slots() -> SlotsPurse:
    purse = SlotsPurse("slots", 0, PLENTY)
    purse.told(SlotsAsk("slots", 0, PLENTY, PLENTY), Lent("ok", PLENTY, 0), 0.0, 0.0)
    return purse


def brakes_of(requests: RatePurse, tokens: RatePurse, prepaid: PackagePurse) -> Brakes:
    return Brakes(
        (
            Brake(requests, "requests", "customer"),
            Brake(tokens, "tokens", "customer", TOKENS, mean=Mean(TOKENS)),
            Brake(prepaid, "package", "package", TOKENS, mean=Mean(TOKENS)),
        )
    )


def desk_at(now_s: float = 0.5) -> Desk:
    return Desk(lambda: 0, lambda: now_s, go_on_alone=True)


def used(tokens: int) -> dict[str, Quantity]:
    return {TOKENS: Quantity(tokens, Grade.EXACT)}


# What happens next: a call begins, the oldest ends (with so much, or without a record), or the bank
# is told.
STEPS = st.lists(
    st.one_of(
        st.just("begin"),
        st.integers(0, 9000),
        st.just("fails"),
        st.just("told"),
    ),
    max_size=200,
)


@given(STEPS)
def test_it_ends_as_one_call_at_a_time_would(steps: list[str | int]) -> None:
    """Nothing is reserved any more, and what is at hand is what was there less what was used."""
    requests, tokens, prepaid = rate(), rate(), package()
    brakes, desk = brakes_of(requests, tokens, prepaid), desk_at()
    open_calls: list[Batch] = []
    calls = number = total = 0
    for step in steps:
        if step == "begin":
            batch = brakes.batch if brakes.batch and brakes.batch.left else desk.batch(brakes, 0.5)
            assert isinstance(batch, Batch)
            batch.left -= 1
            calls += 1
            open_calls.append(batch)
        elif step == "told":
            desk.close_batches()
            assert prepaid.spare + prepaid.reserved + prepaid.used == prepaid.held
            assert prepaid.guesses == len(open_calls)
        elif open_calls and step == "fails":
            open_calls.pop(0).release()
        elif open_calls and isinstance(step, int):
            number += 1
            total += step
            open_calls.pop(0).settle(used(step), number)
    for batch in open_calls:
        batch.release()
    desk.close_batches()
    assert (prepaid.reserved, prepaid.guesses, prepaid.guessed) == (0, 0, 0)
    assert (prepaid.used, prepaid.spare) == (total, PLENTY - total)
    assert requests.spare == PLENTY - calls
    assert tokens.spare - tokens.owed == PLENTY - total


@given(STEPS)
def test_no_call_passes_what_is_set_aside_unnoticed(steps: list[str | int]) -> None:
    """The bound is what open calls may use beyond what is reserved, if none is larger than any before."""
    prepaid = package()
    brakes, desk = brakes_of(rate(), rate(), prepaid), desk_at()
    largest = 0
    for number, step in enumerate(steps, 1):
        batch = brakes.batch if brakes.batch and brakes.batch.left else desk.batch(brakes, 0.5)
        assert isinstance(batch, Batch)
        batch.left -= 1
        tokens = step if isinstance(step, int) else 1
        batch.settle(used(tokens), number)
        largest = max(largest, tokens)
    desk.close_batches()
    assert prepaid.largest == largest


def test_the_ledger_takes_over_what_a_batch_used() -> None:
    """Up to the last record of it."""
    prepaid = package()
    brakes, desk = brakes_of(rate(), rate(), prepaid), desk_at()
    batch = desk.batch(brakes, 0.5)
    assert batch is not None
    for number in (7, 8, 9):
        batch.left -= 1
        batch.settle(used(10), number)
    desk.close_batches()
    prepaid.checkpoint(8)
    assert prepaid.used == 30  # they are one number
    prepaid.checkpoint(9)
    assert prepaid.used == 0


def test_only_where_there_is_plenty() -> None:
    """Where others could lack what it sets aside, each call has a Hold."""
    need = SIZE * Mean(TOKENS).high
    for spare, enough in ((4 * need, True), (4 * need - 1, False)):
        assert (batch_of(brakes_of(rate(), rate(), package(spare)), 0.5) is not None) == enough
    assert batch_of(brakes_of(rate(4 * SIZE - 1), rate(), package()), 0.5) is None


def test_only_as_long_as_every_lease_holds() -> None:
    """Rates are lent for a second."""
    assert batch_of(brakes_of(rate(), rate(), package()), 1.0) is None
    batch = batch_of(brakes_of(rate(), rate(), package()), 0.95)
    assert batch is not None
    assert batch.until_s == 1.0


def test_limits_that_need_each_call_have_it() -> None:
    """Concurrent calls, ends in the middle of a stream, two meters, sizes known before."""
    plain = Brake(rate(), "requests", "customer")
    several = (
        (plain, Brake(slots(), "concurrent", "customer")),
        (plain, Brake(package(), "package", "package", TOKENS, stops=True)),
        (Brake(rate(), "tokens", "key", TOKENS), Brake(package(), "package", "p", "tokens_out")),
        (Brake(package(), "package", "package", "bytes_in"),),
        (Brake(package(), "package", "package", "requests"),),
        (plain, plain),
    )
    for each in several:
        assert batch_of(Brakes(each), 0.5) is None
    assert batch_of(Brakes((plain,)), 0.5) is not None


def test_who_lacks_something_gets_what_a_batch_has_left() -> None:
    """Before it has to wait for the bank."""
    prepaid = package()
    brakes, desk = brakes_of(rate(), rate(), prepaid), desk_at()
    assert desk.batch(brakes, 0.5) is not None
    body = b'{"max_tokens": %d}' % (PLENTY - 1000)
    hold = Hold(brakes, body, len(body))
    assert not hold.take_all(0.5)
    assert desk.take(hold) is None
    assert hold.lacks < 0
    assert prepaid.reserved > PLENTY - 1000


def test_few_calls_do_not_try_again_and_again() -> None:
    """A batch of which most is left when the bank is told was too large."""
    brakes, desk = brakes_of(rate(), rate(), package()), desk_at()
    batch = desk.batch(brakes, 0.5)
    assert batch is not None
    batch.left -= 1
    desk.close_batches()
    assert brakes.patience == SIZE
    assert brakes.batch is not None
    assert not brakes.batch.left


def test_means_are_learned_from_some() -> None:
    """Nothing is known of calls before any; then the usual is what they use."""
    mean = Mean(TOKENS)
    purse = package()
    brakes = Brakes((Brake(purse, "package", "package", TOKENS, mean=mean),))
    desk = desk_at()
    for number in range(1, 100 * SIZE):
        batch = brakes.batch if brakes.batch and brakes.batch.left else desk.batch(brakes, 0.5)
        assert batch is not None
        batch.left -= 1
        batch.settle(used(100), number)
    assert math.isclose(mean.usual, 100, rel_tol=0.1)
