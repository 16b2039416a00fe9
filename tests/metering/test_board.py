"""Slots and totals of a lane, as their owner writes them and as others read them."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from metering.board import Board, NoSlot, Open, Totals, read_open, read_totals
from metering.findings import Finding

SLOT = 512
PAGE = 4096
CALL = Open("r-1", "cust-1", "chat", 5)
IDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "board"


def test_what_is_entered_is_open_until_it_is_cleared(path: Path) -> None:
    """In whatever order the requests end."""
    board = Board(path, slots=3)
    first, second = board.enter(CALL), board.enter(replace(CALL, request_id="r-2"))
    board.clear(first)
    assert [call.request_id for call in read_open(path)] == ["r-2"]
    assert board.open == 1
    board.clear(second)
    assert list(read_open(path)) == []
    board.close()


def test_a_full_board_takes_no_more(path: Path) -> None:
    """Until a slot is free again."""
    board = Board(path, slots=2)
    slots = [board.enter(CALL), board.enter(CALL)]
    with pytest.raises(NoSlot):
        board.enter(CALL)
    assert board.open == 2
    board.clear(slots[0])
    assert board.enter(CALL) == slots[0]
    board.close()


def test_a_slot_shows_only_its_newest_request(path: Path) -> None:
    """A short text over a longer one leaves nothing of it."""
    board = Board(path, slots=1)
    board.clear(board.enter(Open("r" * 100, "c" * 100, "x" * 100, 1)))
    board.enter(CALL)
    assert list(read_open(path)) == [CALL]
    board.close()


class Slots(RuleBasedStateMachine):
    """The board against a plain dict."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.path = self.folder / "board"
        self.path.unlink(missing_ok=True)
        self.board = Board(self.path, slots=4)
        self.held: dict[int, Open] = {}

    @rule(request=st.builds(Open, IDS, IDS, st.text("ab", max_size=20), st.integers(0, 2**63 - 1)))
    def enter(self, request: Open) -> None:
        if len(self.held) == 4:
            with pytest.raises(NoSlot):
                self.board.enter(request)
            return
        slot = self.board.enter(request)
        assert slot not in self.held
        self.held[slot] = request

    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        if self.held:
            slot = data.draw(st.sampled_from(sorted(self.held)))
            del self.held[slot]
            self.board.clear(slot)

    @rule(records=st.integers(0, 2**70), tokens=st.integers(0, 2**70))
    def say(self, records: int, tokens: int) -> None:
        totals = Totals(records, {"tokens_in": tokens})
        self.board.say(totals)
        assert read_totals(self.path) == totals

    @invariant()
    def it_reads_as_it_was_written(self) -> None:
        assert list(read_open(self.path)) == [self.held[slot] for slot in sorted(self.held)]
        assert self.board.open == len(self.held)

    def teardown(self) -> None:
        self.board.close()


def test_slots_are_as_told(tmp_path: Path) -> None:
    """Whatever comes and goes; texts that fit are never cut."""
    Slots.folder = tmp_path
    run_state_machine_as_test(
        Slots, settings=settings(max_examples=30, stateful_step_count=25, deadline=None)
    )


def test_the_request_id_is_never_cut(path: Path) -> None:
    """It tells whether a record was written; the longest customer of ours fits beside it."""
    board = Board(path, slots=1)
    board.enter(Open("r" * 255, "客" * 64, "路" * 64, 7))
    (found,) = read_open(path)
    assert (found.request_id, found.customer_id) == ("r" * 255, "客" * 64)
    assert found.started == 7
    assert found.route == "路" * 16
    board.close()


@given(st.text("ab", max_size=255), st.text("客a", max_size=700), st.text("路b", max_size=700))
@settings(deadline=None, max_examples=50)
def test_a_text_is_cut_between_characters(
    tmp_path_factory: pytest.TempPathFactory, request_id: str, customer: str, route: str
) -> None:
    """The request id stays whole, and of the others what fits."""
    path = tmp_path_factory.mktemp("board") / "board"
    board = Board(path, slots=1)
    board.enter(Open(request_id, customer, route, 1))
    (found,) = read_open(path)
    board.close()
    assert found.request_id == request_id
    assert customer.startswith(found.customer_id)
    assert route.startswith(found.route)


@given(st.binary(min_size=SLOT, max_size=SLOT))
@settings(deadline=None)
def test_any_slot_can_be_named(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """A power cut may leave anything; it still becomes a finding that can travel."""
    path = tmp_path_factory.mktemp("board") / "board"
    path.write_bytes(bytes(PAGE) + b"\x01" + noise[1:])
    (found,) = read_open(path)
    named = Finding(
        "uncertain",
        "lane",
        "host",
        1,
        found.request_id,
        found.customer_id,
        found.route,
        found.started,
    )
    text = msgspec.json.encode(named)
    assert len(text) < 8192
    assert msgspec.json.decode(text, type=Finding) == named
    assert not any(ord(char) < 32 for char in named.identity)


def test_a_slot_killed_before_its_last_byte_is_free(path: Path) -> None:
    """The byte that makes it an open request is written last."""
    board = Board(path, slots=1)
    board.enter(CALL)
    os.pwrite(board.handle, b"\x00", PAGE)
    assert list(read_open(path)) == []
    board.close()


def test_a_board_cut_short_is_read_as_far_as_it_goes(path: Path) -> None:
    """Half a slot is none."""
    board = Board(path, slots=2)
    board.enter(CALL)
    board.enter(CALL)
    board.close()
    os.truncate(path, PAGE + SLOT + 100)
    assert list(read_open(path)) == [CALL]


def test_totals_that_were_never_said_are_none(path: Path) -> None:
    """As are those of no file, of a torn page, and of another program."""
    board = Board(path, slots=1)
    assert read_totals(path) is None
    board.say(Totals(3, {"requests": 3}))
    assert read_totals(path) == Totals(3, {"requests": 3})
    os.pwrite(board.handle, b"\xff", 12)
    assert read_totals(path) is None
    board.close()
    path.write_bytes(b"xyz")
    assert read_totals(path) is None
    assert read_totals(path.with_name("nowhere")) is None


def test_totals_too_long_for_the_page_leave_the_slots_alone(path: Path) -> None:
    """The last ones that fitted stay."""
    board = Board(path, slots=1)
    board.enter(CALL)
    board.say(Totals(1, {"requests": 1}))
    board.say(Totals(2, {f"meter-{n}" * 9: n for n in range(100)}))
    assert read_totals(path) == Totals(1, {"requests": 1})
    assert list(read_open(path)) == [CALL]
    board.close()
    board.close()


def test_a_board_is_made_once(path: Path) -> None:
    """Two processes cannot share one."""
    board = Board(path, slots=1)
    with pytest.raises(FileExistsError):
        Board(path, slots=1)
    board.close()


def test_totals_add_up_by_meter() -> None:
    """Neither operand changes."""
    some = Totals(1, {"a": 1, "b": 2})
    assert some.plus(2, {"b": 3, "c": 4}) == Totals(3, {"a": 1, "b": 5, "c": 4})
    assert some == Totals(1, {"a": 1, "b": 2})
