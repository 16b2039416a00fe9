"""Usage objects of the known APIs become meters."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import dialects
from gateway.dialects import Dialect
from metering.usage import MAX_QUANTITY


def meters(usage: object, dialect: Dialect = "auto") -> dict[str, int]:
    """The meters of one usage object."""
    stated = dialects.fields(msgspec.Raw(json.dumps(usage).encode()))
    return dialects.meters(stated, dialect)


def reply(document: object) -> dialects.Reply:
    """A document, decoded."""
    decoded = dialects.decode(json.dumps(document).encode())
    assert decoded is not None
    return decoded


CHAT = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
RESPONSES = {
    "input_tokens": 36,
    "input_tokens_details": {"cached_tokens": 16},
    "output_tokens": 87,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 123,
}
MESSAGES = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 100,
    "output_tokens": 7,
    "service_tier": "standard",
}


def test_openai_chat() -> None:
    """OpenAI's prompt tokens already include the cached ones."""
    assert meters(CHAT) == {
        "tokens_in": 19,
        "tokens_out": 10,
        "tokens_total": 29,
        "tokens_cached": 4,
        "tokens_reasoning": 3,
    }


def test_openai_responses() -> None:
    """The responses API says input_tokens, and includes the cached ones."""
    assert meters(RESPONSES) == {
        "tokens_in": 36,
        "tokens_out": 87,
        "tokens_total": 123,
        "tokens_cached": 16,
        "tokens_reasoning": 64,
    }


def test_anthropic_messages() -> None:
    """Anthropic's input tokens leave the cache out, so what it read and wrote is added."""
    assert meters(MESSAGES) == {
        "tokens_in": 115,
        "tokens_out": 7,
        "tokens_total": 122,
        "tokens_cached": 100,
    }


def test_openai_embeddings() -> None:
    """Embeddings have no output: the reported total stands."""
    assert meters({"prompt_tokens": 8, "total_tokens": 8}) == {"tokens_in": 8, "tokens_total": 8}


def test_prompt_tokens_beside_cache_fields_include_them() -> None:
    """Gateways that mix both families do not make cached tokens count twice."""
    mixed = {"prompt_tokens": 50, "completion_tokens": 1, "cache_read_input_tokens": 40}
    assert meters(mixed)["tokens_in"] == 50
    assert meters(mixed)["tokens_cached"] == 40


def test_a_named_dialect_settles_the_clash() -> None:
    """With the dialect given, the siblings of input_tokens need not be asked."""
    assert meters(MESSAGES, "openai")["tokens_in"] == 10
    assert meters(MESSAGES | {"input_tokens_details": {"cached_tokens": 1}})["tokens_in"] == 10
    assert meters(RESPONSES | {"cache_read_input_tokens": 16}, "anthropic")["tokens_in"] == 52


def test_totals_are_recomputed_from_parts() -> None:
    """A reported total is used only where a part is missing."""
    assert meters({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 99}) == {
        "tokens_in": 2,
        "tokens_out": 3,
        "tokens_total": 5,
    }
    assert meters({"total_tokens": 9}) == {"tokens_total": 9}
    assert meters({"prompt_tokens": 9}) == {"tokens_in": 9}


@pytest.mark.parametrize(
    "bad", [-1, 1.5, True, "7", None, [7], {"n": 7}, MAX_QUANTITY + 1, 10**40, 1e300], ids=repr
)
def test_a_value_not_to_be_believed_is_ignored_alone(bad: object) -> None:
    """One bad field costs only itself."""
    assert meters({"prompt_tokens": bad, "completion_tokens": 3}) == {"tokens_out": 3}
    assert meters(CHAT | {"prompt_tokens_details": bad})["tokens_in"] == 19


def test_zero_is_a_reading() -> None:
    """Nothing cached is known, not missing."""
    assert meters({"prompt_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}) == {
        "tokens_in": 0,
        "tokens_cached": 0,
    }


def test_whole_floats_are_counts() -> None:
    """7.0 is 7."""
    assert meters({"prompt_tokens": 7.0, "completion_tokens": MAX_QUANTITY - 7}) == {
        "tokens_in": 7,
        "tokens_out": MAX_QUANTITY - 7,
        "tokens_total": MAX_QUANTITY,
    }


def test_a_sum_not_to_be_believed_is_left_out() -> None:
    """A total past the bound is no reading either."""
    usage = {"prompt_tokens": MAX_QUANTITY, "completion_tokens": 1}
    assert "tokens_total" not in meters(usage)


def test_a_number_out_of_range_costs_only_itself() -> None:
    """A number that no float can hold does not spoil its neighbours."""
    usage = msgspec.Raw(b'{"prompt_tokens": 1e999, "completion_tokens": 4}')
    assert dialects.fields(usage) == {"completion_tokens": 4}


@pytest.mark.parametrize(
    "document",
    [
        {"usage": CHAT},
        {"message": {"usage": CHAT}},
        {"response": {"usage": CHAT}, "usage": None},
    ],
    ids=["top", "message", "response"],
)
def test_usage_is_found_where_it_stands(document: object) -> None:
    """Usage is read at the top, in `message` and in `response`."""
    found = [dialects.fields(usage) for usage in dialects.usages(reply(document))]
    assert [stated["prompt_tokens"] for stated in found] == [19]


@pytest.mark.parametrize(
    "document",
    [{}, {"usage": None}, {"usage": "see docs"}, {"message": "hi", "response": ["usage"]}],
    ids=repr,
)
def test_no_usage(document: object) -> None:
    """Null, texts and lists are no usage."""
    assert list(dialects.usages(reply(document))) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"choices": [], "usage": CHAT}, True),
        ({"choices": [{"index": 0}], "usage": CHAT}, None),
        ({"type": "message_start", "message": {"usage": MESSAGES}}, False),
        ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": MESSAGES}, True),
        ({"type": "message_delta", "delta": {"stop_reason": None}, "usage": MESSAGES}, None),
        ({"type": "response.completed", "response": {"usage": RESPONSES}}, True),
        ({"type": "response.incomplete", "response": {"usage": RESPONSES}}, True),
        ({"type": "response.failed", "response": {"usage": RESPONSES}}, True),
        ({"type": "response.in_progress", "response": {"usage": RESPONSES}}, None),
        ({"type": 7, "choices": "none"}, None),
    ],
    ids=str,
)
def test_events_that_end_the_usage(document: object, expected: bool | None) -> None:
    """A stream says itself whether the usage seen so far is final."""
    decoded = reply(document)
    assert dialects.ending(decoded, reported=bool(list(dialects.usages(decoded)))) is expected


def test_an_end_without_usage_is_no_end() -> None:
    """Only message_stop ends by its name alone."""
    assert dialects.ending(reply({"choices": []}), reported=False) is None
    assert dialects.ending(reply({"type": "response.failed"}), reported=False) is None
    assert dialects.ending(reply({"type": "message_stop"}), reported=False) is True


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*CHAT, *MESSAGES, "cached_tokens"]), inner)))  # fmt: skip
def test_any_usage_gives_believable_meters(usage: object) -> None:
    """Whatever stands in `usage`, a meter's value is between 0 and the bound."""
    assert all(0 <= value <= MAX_QUANTITY for value in meters(usage).values())


# The quick way and the patient one
