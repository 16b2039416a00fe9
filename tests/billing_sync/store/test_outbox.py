"""The marketplace's own word about records: confirmed, or refused after all."""

import pytest
from sqlalchemy import Engine

from billing_sync.states import State
from billing_sync.store import outbox
from billing_sync.store.engine import writing
from tests.billing_sync.books import START
from tests.billing_sync.test_outbox import fill, one, record, states


def everything(engine: Engine) -> None:
    with writing(engine) as session:
        for number, state in enumerate(State):
            session.add(record(f"r{number}", state=state.value, error="e", code="c"))


def test_confirmed(engine: Engine) -> None:
    """Whatever we thought of a record, except of one that was never sent; twice is no news."""
    everything(engine)
    serials = [*states(engine), "stranger"]
    with writing(engine) as session:
        assert outbox.confirm(session, serials, START + 5) == 6
        assert outbox.confirm(session, serials, START + 6) == 0
    held = f"r{list(State).index(State.HELD)}"
    assert {sn for sn, state in states(engine).items() if state != "confirmed"} == {held}
    sent = one(engine, f"r{list(State).index(State.SENT)}")
    assert (sent.confirmed_at, sent.error, sent.code) == (START + 5, "", "")


def test_more_than_fits_one_question(engine: Engine) -> None:
    """A month's list of records comes in one go."""
    serials = fill(engine, 1234, state="collected")
    with writing(engine) as session:
        assert outbox.confirm(session, serials, START) == 1234


@pytest.mark.parametrize("state", list(State))
def test_refused_in_the_background(engine: Engine, state: State) -> None:
    """What was pushed becomes a dead letter with the marketplace's words; nothing else changes."""
    fill(engine, 1, state=state.value)
    with writing(engine) as session:
        news = outbox.refuse(session, {"r0": ("SDR.1", "interval overlaps"), "x": ("", "")})
    pushed = state in (State.SENDING, State.SENT, State.COLLECTED)
    assert news == int(pushed)
    assert states(engine)["r0"] == (State.REJECTED if pushed else state)
    assert one(engine, "r0").error == ("SDR.1 interval overlaps" if pushed else "")
