"""What is read from /proc, from the journal and from origins, and who gets which core."""

import os

import pytest

from loadtests.compare import accounting
from loadtests.compare.exactness import wrong
from loadtests.compare.machine import TooFewCores, divide
from loadtests.compare.origins import counted
from loadtests.compare.scenarios import (
    EVENTS,
    REPLY_BYTES,
    SCENARIOS,
    UnknownName,
    call_body,
    events,
    named,
    reply_body,
)

STAT = "12 (a) (b c) S 1 12 12 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7"
CORES = "cpu  1 1 1 50 50\ncpu0 1 1 1 20 5 0\ncpu1 1 1 1 30 6 0\nintr 5\n"
STATUS = "Active connections: 3 \nserver accepts handled requests\n 11 12 13 \nReading: 0\n"


def test_cpu_time_is_user_and_kernel_time_with_ended_children() -> None:
    """Whatever parentheses and blanks the program's name has."""
    assert accounting.cpu_ticks(STAT) == 127


def test_idle_time_is_that_of_the_cores_asked_for() -> None:
    """Waiting for a disk is idle too."""
    assert accounting.idle_ticks(CORES, [0]) == 25
    assert accounting.idle_ticks(CORES, [0, 1]) == 61


def test_anonymous_memory_is_read() -> None:
    """A zombie has none, and this process has some."""
    assert accounting.anonymous_kib("Name:\tx\nRssAnon:\t    64 kB\n") == 64
    assert accounting.anonymous_kib("Name:\tx\nState:\tZ\n") == 0
    assert accounting.anonymous_bytes([os.getpid()]) > 2**20
    assert accounting.cpu_seconds([os.getpid()]) > 0


def test_the_proxy_has_a_core_to_itself() -> None:
    """Everything else shares what is left, each its half where it can be halved."""
    assert divide([0, 1]).said() == "proxy 0, origin 1, load 1"
    assert divide([4, 2, 3]).said() == "proxy 2, origin 3, load 4"
    assert divide(range(6)).said() == "proxy 0, origin 1+2, load 3+4+5"
    with pytest.raises(TooFewCores):
        divide([0])


def test_origins_say_how_many_calls_they_read() -> None:
    """nginx in its status page, ours as a number."""
    assert counted(STATUS) == 13
    assert counted("42") == 42


@pytest.mark.parametrize(
    ("replied", "counts", "answered", "said"),
    [
        (10, 10, 10, ""),
        (10, 11, 12, ""),
        (10, 9, 12, "LOST"),
        (10, 13, 12, "COUNTED TWICE"),
        (0, 0, 0, ""),
    ],
)
def test_the_count_lies_between_replies_and_calls(
    replied: int, counts: int, answered: int, said: str
) -> None:
    """Fewer than clients had replies are lost; more than the origin read are counted twice."""
    assert wrong(replied, counts, answered).startswith(said)
    assert bool(wrong(replied, counts, answered)) is bool(said)


def test_calls_and_replies_have_their_sizes() -> None:
    """As the tables say."""
    assert len(reply_body()) == REPLY_BYTES
    assert len(events()) == EVENTS
    assert b'"usage"' in events()[-1]
    by_size = {s.name: len(call_body(s)) for s in SCENARIOS}
    assert by_size["json"] == 200
    assert by_size["post16k"] == 16384


def test_scenarios_are_found_by_name() -> None:
    """All of them without any; a wrong name is told what there is."""
    assert named([]) == list(SCENARIOS)
    assert [s.name for s in named(["churn", "json"])] == ["json", "churn"]
    with pytest.raises(UnknownName, match="there are json, sse"):
        named(["jsn"])
