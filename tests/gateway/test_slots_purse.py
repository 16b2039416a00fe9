"""What a worker keeps of the calls that may be open at once."""

from gateway.slots_purse import SlotsPurse
from metering.lending import Lent, SlotsAsk


def purse_with(spare: int) -> SlotsPurse:
    """One to which so many slots have been lent, at second 0."""
    purse = SlotsPurse("slots", 0, 10)
    purse.told(SlotsAsk("slots", 0, spare, 10), Lent("ok", spare, 10 - spare), 0.0, 0.0)
    return purse


def test_what_is_seldom_used_goes_back() -> None:
    """And whoever comes next asks, also right after somebody waited in vain."""
    purse = purse_with(1)
    assert purse.take(1, 1, 0.01) == 1
    purse.settle()
    purse.in_vain_until_s = 1.0
    ask = purse.next_ask(0.06)
    assert ask is not None
    assert (ask.held, ask.want, purse.in_vain_until_s) == (0, 0, 0.0)


def test_what_is_often_used_is_kept() -> None:
    """Unless others lack it, which is heard soon."""
    purse = purse_with(2)
    for turn in range(1, 10):
        for call in range(10):
            assert purse.take(1, 1, turn * 0.05 + call * 0.001) == 1
            purse.settle()
        asked = purse.next_ask(turn * 0.05 + 0.02)
        if asked is not None:
            assert asked.held == 2
            purse.told(asked, Lent("ok", 0, 8), turn * 0.05 + 0.02, turn * 0.05 + 0.02)
    purse.wanted = True
    purse.take(1, 1, 0.5)
    purse.settle()
    asked = purse.next_ask(0.51)
    assert asked is not None
    assert asked.held == 0
