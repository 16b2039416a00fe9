"""What a worker holds of prepaid packages: nothing is given out twice, whatever happens."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.leases import LACKING
from gateway.package_purse import PackagePurse
from metering.lending import PACKAGE_LIFE_MS, Lent, PackageAsk

LIFE_S = PACKAGE_LIFE_MS / 1000


def purse_with(spare: int, left: int = 0) -> PackagePurse:
    """One to which so much has been lent, at second 0."""
    purse = PackagePurse("account", 3, "tokens_out")
    ask = PackageAsk("account", 0, spare, 1)
    purse.told(ask, Lent("ok", spare, left), 0.0, 0.0)
    return purse


def test_a_call_takes_what_it_needs_and_gives_back_the_rest() -> None:
    """And what it used stays held until the ledger has it."""
    purse = purse_with(100)
    assert purse.take(60, 0, 1.0) == 60
    purse.settle(60, 25, 7)
    assert (purse.spare, purse.reserved, purse.used, purse.held) == (75, 0, 25, 100)
    purse.checkpoint(6)
    assert purse.used == 25
    purse.checkpoint(7)
    assert (purse.used, purse.held) == (0, 75)


def test_one_call_at_a_time_takes_a_rest() -> None:
    """Each of them may use more than there is."""
    purse = purse_with(100)
    assert purse.take(60, 0, 1.0) == 60
    assert purse.take(60, 0, 1.0) == LACKING
    assert purse.take_rest(1.0) == LACKING
    purse.settle(60, 60, 1)
    assert purse.take(60, 0, 1.0) == 40


def test_no_rest_is_taken_where_more_can_be_had() -> None:
    """The bank has some left: asking comes first. After the wait a part will do."""
    purse = purse_with(30, left=1000)
    assert purse.take(60, 0, 1.0) == LACKING
    assert purse.take_rest(1.0) == 30


def test_what_cannot_be_less_is_never_less() -> None:
    """A call whose size is known is not made with less."""
    assert purse_with(59).take(60, 60, 1.0) == LACKING


def test_a_lease_ends_with_its_life() -> None:
    """Counted from when it was asked for; then others may have it."""
    purse = purse_with(100)
    assert purse.take(10, 10, LIFE_S) == LACKING
    assert purse.grow(5, LIFE_S) == 0
    assert purse.next_ask(LIFE_S + 1) is not None
    assert purse.spare == 0


def test_the_bound_is_what_open_calls_may_use_beyond_what_they_reserved() -> None:
    """If none is larger than any before; and the most it ever was."""
    purse = purse_with(1000)
    purse.take(100, 0, 1.0)
    ended(purse, 100, 300)
    assert purse.overshoot_bound == 0
    purse.take(100, 0, 1.0)
    purse.take(250, 0, 1.0)
    purse.take(20, 20, 1.0)  # its size is known
    assert purse.overshoot_bound == 2 * 300 - 350
    ended(purse, 100, 10)
    ended(purse, 250, 10)
    assert (purse.overshoot_bound, purse.most_over) == (0, 250)


def ended(purse: PackagePurse, taken: int, used: int) -> None:
    """A call of unknown size is over."""
    purse.guesses -= 1
    purse.guessed -= taken
    purse.settle(taken, used, 1)


class Purses(RuleBasedStateMachine):
    """A purse, and a bank that lends of a package."""

    def __init__(self) -> None:
        super().__init__()
        self.purse = PackagePurse("account", 3, "tokens_out")
        self.now_s = 0.0
        self.number = 0
        self.lent_at_most = (
            0  # by the bank's book: what the purse said it holds, and what it got then
        )
        self.open: list[int] = []
        self.excess = 0  # used beyond what was at hand: nobody could know

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, LIFE_S]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now_s += seconds

    @rule(granted=st.integers(0, 500), arrives=st.booleans(), left=st.integers(0, 3))
    def ask(self, granted: int, arrives: bool, left: int) -> None:
        """What it is told may be lost; then the bank counts more than the purse has."""
        ask = self.purse.next_ask(self.now_s)
        if ask is None:
            return
        assert ask.held == self.purse.held
        granted = min(granted, ask.want)
        self.lent_at_most = ask.held + granted
        if arrives:
            self.purse.told(ask, Lent("ok", granted, left), self.now_s, self.now_s)
        else:
            self.purse.lost()

    @rule(amount=st.integers(1, 300), known=st.booleans(), rest=st.booleans())
    def call(self, amount: int, known: bool, rest: bool) -> None:
        """A call comes, whose size is known or not."""
        least = amount if known else 0
        took = self.purse.take(amount, least, self.now_s)
        if took == LACKING and rest and not known:
            took = self.purse.take_rest(self.now_s)
        if took == LACKING:
            return
        assert took >= max(1, least)
        assert self.now_s < self.purse.valid_until_s
        self.open.append(took)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 99), part=st.integers(0, 300), recorded=st.booleans())
    def end(self, which: int, part: int, recorded: bool) -> None:
        """A call ends, having used less or more than it reserved; or it came to nothing."""
        took = self.open.pop(which % len(self.open))
        used = part if recorded else 0
        self.excess += max(0, used - took - self.purse.spare)
        self.number += recorded
        self.purse.settle(took, used, self.number if recorded else 0)

    @precondition(lambda self: self.number)
    @rule(which=st.integers(0, 99))
    def deducted(self, which: int) -> None:
        """The ledger has the records up to one."""
        before = self.purse.held
        self.purse.checkpoint(which % self.number + 1)
        assert self.purse.held <= before

    @invariant()
    def nothing_is_given_out_twice(self) -> None:
        """What is held is no more than the bank counts, but for what open calls used beyond."""
        assert self.purse.spare >= 0
        assert self.purse.used >= 0
        assert self.purse.reserved == sum(self.open)
        assert self.purse.held <= self.lent_at_most + self.excess


Purses.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestPurses = Purses.TestCase


def test_what_was_used_beyond_what_was_lent_is_told_at_once() -> None:
    """Otherwise the bank lends it to others too, until it is asked for more."""
    purse = purse_with(100, left=1000)
    assert purse.take(60, 1, 1.0) == 60
    purse.settle(60, 900, 1)
    purse.refused_until_s = 10.0  # it wants nothing now
    ask = purse.next_ask(1.0)
    assert ask is not None
    assert (ask.held, ask.want) == (900, 0)
    purse.told(ask, Lent("ok", 0, 200), 1.0, 1.0)
    assert purse.next_ask(2.0) is None
