"""All or nothing: a call that has to wait leaves its other limits as they were, however often it tries."""

import pytest

from gateway.brakes import Brake, Brakes
from gateway.desk import Desk
from gateway.errors import GatewayError
from gateway.estimates import Mean
from gateway.holds import Hold
from gateway.purse import PackagePurse, RatePurse, SlotsPurse
from metering.lending import Lent, PackageAsk, RateAsk, SlotsAsk
from metering.usage import Grade, Quantity

NOTHING_LENT = PackagePurse("account", 0, "tokens_total")


def slots_with(spare: int) -> SlotsPurse:
    purse = SlotsPurse("slots", 0, 10)
    purse.told(SlotsAsk("slots", 0, spare, 10), Lent("ok", spare, 0), 0.0, 0.0)
    return purse


def rate_with(spare: int) -> RatePurse:
    purse = RatePurse("rate", 0, 10, 1000, 10)
    purse.told(RateAsk("rate", 10, 1000, 10, 0, spare), Lent("ok", spare, 0), 0.0, 0.0)
    return purse


def brakes_with(slots: SlotsPurse, rate: RatePurse, *, shadow: bool) -> Brakes:
    """A package comes last, of which there is nothing."""
    return Brakes(
        (
            Brake(slots, "concurrent", "customer", shadow=shadow),
            Brake(rate, "requests", "customer", shadow=shadow),
            Brake(NOTHING_LENT, "package", "package", "tokens_total"),
        )
    )


@pytest.mark.parametrize("shadow", [False, True])
@pytest.mark.parametrize("spare", [0, 1, 5])
def test_what_is_put_back_was_never_taken(shadow: bool, spare: int) -> None:
    """Neither more nor less is at hand, and the pace is none."""
    slots, rate = slots_with(spare), rate_with(spare)
    hold = Hold(brakes_with(slots, rate, shadow=shadow), b"", 0)
    for _ in range(30):
        assert not hold.take(0.5)
    assert (slots.calls, slots.spare, rate.spare, rate.owed) == (0, spare, spare, 0)
    assert slots.measure(0.9) == rate.measure(0.9) == 0


class Call:
    def let_in(self, refusal: GatewayError | None) -> None:
        pass


def test_a_call_that_waits_exceeds_a_limit_that_only_reports_once() -> None:
    """When it is let in, not at each attempt."""
    now_s = 0.1
    desk = Desk(lambda: 0, lambda: now_s, go_on_alone=True)
    slots, rate = slots_with(0), rate_with(0)
    hold = Hold(brakes_with(slots, rate, shadow=True), b"", 0)
    rate.owed = 5
    assert desk.take(hold) is None
    desk.wait(Call(), hold)
    for _ in range(5):
        desk.serve()
    assert not desk.shadow_refusals


def test_what_a_request_says_is_not_believed_again_once_it_was_passed() -> None:
    """A number that nobody heeds, such as in its metadata: from then on it is what others used."""
    purse = PackagePurse("account", 0, "tokens_out")
    purse.told(PackageAsk("account", 0, 9000, 1), Lent("ok", 9000, 0), 0.0, 0.0)
    brakes = Brakes((Brake(purse, "package", "package", "tokens_out", mean=Mean("tokens_out")),))
    lie = b'{"metadata": {"max_tokens": 1}}'
    hold = Hold(brakes, lie, len(lie))
    assert hold.take(0.5)
    assert (purse.reserved, purse.guesses) == (1, 0)
    hold.settle({"tokens_out": Quantity(300, Grade.EXACT)}, 1)
    hold = Hold(brakes, lie, len(lie))
    assert hold.take(0.5)
    assert (purse.reserved, purse.guesses) == (4096, 1)
