"""wrk's scripts and what its runs say."""

import pytest

from loadtests.compare import wrk
from loadtests.compare.scenarios import ONE_CUSTOMER, SCENARIOS

SAID = """Running 2s test @ http://127.0.0.1:1
  2 threads and 64 connections
JSON {"requests": 1010, "microseconds": 2000000, "bytes": 4000, "connect": 0, "read": 3, "write": 0,\
 "status": 10, "timeout": 0, "p50": 1500, "p99": 9000}
"""


def test_a_run_is_read() -> None:
    """Replies with a bad status are errors and no replies; kinds of errors without any are left out."""
    seen = wrk.parse(SAID)
    assert (seen.replies, seen.seconds, seen.rate) == (1000, 2.0, 500.0)
    assert seen.errors == {"read": 3, "status": 10}
    assert (seen.p50_s, seen.p99_s) == (0.0015, 0.009)


@pytest.mark.parametrize("said", ["", "unable to connect", "JSON {", 'JSON {"requests": 1}'])
def test_a_run_that_said_nothing_is_no_run(said: str) -> None:
    """It is refused with what was said."""
    with pytest.raises(wrk.Unreadable, match="wrk said"):
        wrk.parse(said)


def test_only_calls_that_differ_are_made_in_lua() -> None:
    """A request function costs the generator time, so that static calls have none."""
    making = {s.name for s in (*SCENARIOS, ONE_CUSTOMER) if "request = function" in wrk.script(s)}
    assert making == {"customers", "one_customer", "unique"}


def test_a_new_connection_for_each_call_is_asked_for() -> None:
    """By the client, in churn alone."""
    closing = {s.name for s in SCENARIOS if "Connection" in wrk.headers(s)}
    assert closing == {"churn"}
