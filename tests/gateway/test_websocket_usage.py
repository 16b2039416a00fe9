"""What a session's events say of its usage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.readings import Path
from gateway.tap import UsagePlan
from gateway.websocket_usage import Responses
from metering.usage import Grade, Quantity

CREATED = '{"type": "response.created", "response": {"id": "r", "usage": null}}'
SESSION = '{"type": "session.created"}'
SOLD = UsagePlan(expected=frozenset({"tokens_total"}))


def done(tokens_in: int, tokens_out: int, cached: int = 0, *, kind: str = "response.done") -> str:
    """The last event of a response."""
    usage = {
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "input_token_details": {"cached_tokens": cached},
    }
    return json.dumps({"type": kind, "response": {"id": "r", "usage": usage}})


def read(*messages: str | bytes, plan: UsagePlan = SOLD) -> dict[str, Quantity]:
    """What a session of these messages amounts to."""
    responses = Responses(plan)
    for message in messages:
        responses.see(message)
    return responses.take(last=True)


counts = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
noise = st.one_of(st.text(), st.binary(), st.sampled_from(['{"type":"response.delta","usage":{}}']))
turns = st.lists(st.one_of(counts, noise), max_size=20)


@given(turns, st.data())
def test_the_sum_is_the_sum_however_it_is_taken(turns: list[object], data: st.DataObject) -> None:
    """Whatever passes between, and wherever the session is cut into stretches."""
    responses, total = Responses(UsagePlan()), {"tokens_in": 0, "tokens_out": 0, "tokens_cached": 0}
    taken: list[dict[str, Quantity]] = []
    for turn in turns:
        if isinstance(turn, tuple):
            responses.see(CREATED)
            responses.see(done(*turn))
        else:
            responses.see(turn)  # type: ignore[arg-type]
        if data.draw(st.booleans()):
            taken.append(responses.take(last=False))
    taken.append(responses.take(last=True))
    for tokens_in, tokens_out, cached in (turn for turn in turns if isinstance(turn, tuple)):
        total["tokens_in"] += tokens_in
        total["tokens_out"] += tokens_out
        total["tokens_cached"] += cached
    for meter, value in total.items():
        assert sum(part[meter].value for part in taken if meter in part) == value
    both = total["tokens_in"] + total["tokens_out"]
    assert sum(part["tokens_total"].value for part in taken if "tokens_total" in part) == both
    assert all(each.grade is Grade.EXACT for part in taken for each in part.values())


@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists)))
def test_nothing_an_upstream_says_makes_it_fail(content: object) -> None:
    """Also where the words are right and the shapes are wrong."""
    for wrong in (content, {"usage": content}, {"type": content, "response": content}):
        read(json.dumps(wrong), json.dumps({"type": "response.done", "response": wrong}))


def test_the_responses_api_ends_its_responses_otherwise() -> None:
    """The same usage under other words."""
    kinds = ["response.completed", "response.incomplete", "response.failed", "response.done"]
    found = read(*(done(2, 1, kind=kind) for kind in kinds))
    assert found["tokens_total"] == (12, Grade.EXACT)


def test_a_response_still_open_at_the_end_makes_it_partial() -> None:
    """What was reported stands; more may have been used."""
    assert read(CREATED, done(2, 1), CREATED)["tokens_total"] == (3, Grade.PARTIAL)


def test_a_response_open_at_the_end_of_a_stretch_is_the_next_ones() -> None:
    """It will report there."""
    responses = Responses(SOLD)
    responses.see(CREATED)
    assert responses.take(last=False) == {}
    responses.see(done(2, 1))
    assert responses.take(last=True)["tokens_total"] == (3, Grade.EXACT)


def test_a_response_that_ends_without_usage_makes_it_partial() -> None:
    """Or missing, where nothing else was reported."""
    silent = '{"type": "response.done", "response": {"status": "failed", "usage": null}}'
    assert read(done(2, 1), silent)["tokens_total"] == (3, Grade.PARTIAL)
    assert read(silent) == {"tokens_total": (0, Grade.MISSING)}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], {}),
        ([SESSION], {}),
        (["hello"], {"tokens_total": (0, Grade.MISSING)}),
        ([b"\x00"], {"tokens_total": (0, Grade.MISSING)}),
        ([CREATED], {"tokens_total": (0, Grade.MISSING)}),
    ],
)
def test_what_is_sold_and_not_reported(
    messages: list[str | bytes], expected: dict[str, Quantity]
) -> None:
    """Nothing was used where nothing passed, or where the language is known and says so."""
    assert read(*messages) == expected


def test_a_custom_meter_is_added_up() -> None:
    """Over every message that states it."""
    plan = UsagePlan(paths={"pages": Path(("usage", "pages"))})
    message = '{"usage": {"pages": 3}}'
    assert read(message, "{}", message, plan=plan) == {"pages": (6, Grade.EXACT)}


def test_a_route_without_a_dialect_reads_nothing() -> None:
    """Messages are still counted; tokens are not."""
    assert read(done(2, 1), plan=UsagePlan(dialect="none")) == {}


def test_a_sum_beyond_belief_is_not_reached() -> None:
    """A broken upstream must not overflow the counters."""
    found = read(done(10**15, 0), done(10**15, 0))
    assert found["tokens_in"].value == 10**15
