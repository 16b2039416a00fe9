"""Usage objects of the known APIs, read by the tables and amounting to meters."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import amounts, usage_fields
from gateway.amounts import Dialect
from metering.usage import MAX_QUANTITY


def raw(value: object) -> msgspec.Raw:
    """A value as it stands in a document."""
    return msgspec.Raw(json.dumps(value).encode())


def meters(usage: object, dialect: Dialect = "auto") -> dict[str, int]:
    """The meters of one `usage` object."""
    return amounts.meters(usage_fields.of_usage(raw(usage), dialect), dialect)


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
    assert usage_fields.of_usage(usage, "auto") == {"completion_tokens": 4}


# The other dialects


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"image_count": 4}, {"images": 4}),
        ({"video_duration": 10.23, "video_ratio": "720P", "video_count": 1}, {"video_ms": 10230}),
        ({"video_duration": 5, "duration": 9, "video_count": 1}, {"video_ms": 5000}),
        ({"duration": 5, "video_count": 1, "SR": "720"}, {"video_ms": 5000}),
        ({"duration": 5, "latency": 7}, {}),
        ({"characters": 12}, {"characters": 12}),
        ({"type": "duration", "seconds": 7}, {"audio_ms": 7000}),
        (
            {"prompt_audio_seconds": 2.5, "prompt_tokens": 4, "completion_tokens": 6},
            {"tokens_in": 4, "tokens_out": 6, "tokens_total": 10, "audio_ms": 2500},
        ),
        (
            {"input_tokens": 3, "output_tokens": 4, "image_count": 1, "total_tokens": 9},
            {"tokens_in": 3, "tokens_out": 4, "tokens_total": 7, "images": 1},
        ),
        (
            {"models": [{"input_tokens": 3, "output_tokens": 4}, {"input_tokens": 5}]},
            {"tokens_in": 8, "tokens_out": 4, "tokens_total": 12},
        ),
    ],
    ids=str,
)
def test_more_than_tokens(usage: object, expected: dict[str, int]) -> None:
    """Images, seconds and characters, as DashScope, OpenAI, Mistral and KooGallery's table say them."""
    assert meters(usage) == expected


def test_a_bare_duration_is_dashscopes() -> None:
    """Elsewhere it may be how long the call took."""
    assert meters({"duration": 5}, "dashscope") == {"audio_ms": 5000}
    assert meters({"duration": 5}) == {}


BILLED = {"input_tokens": 5, "output_tokens": 418}
USED = {"input_tokens": 71, "output_tokens": 418}


def test_cohere_counts_what_it_bills() -> None:
    """Billed units before tokens; a search has neither."""
    wanted = {"tokens_in": 5, "tokens_out": 418, "tokens_total": 423}
    assert meters({"billed_units": BILLED, "tokens": USED}) == wanted
    assert meters({"billed_units": {"search_units": 1}, "tokens": USED})["tokens_in"] == 71
    assert meters({"billed_units": {"search_units": 1}}) == {}
    old = usage_fields.of_cohere(raw({"api_version": {}, "billed_units": BILLED}))
    assert amounts.meters(old, "auto") == wanted


def gemini(**said: int) -> dict[str, int]:
    """The meters of a `usageMetadata` object."""
    return amounts.meters(usage_fields.of_gemini(raw(said)), "auto")


def test_gemini() -> None:
    """Cached tokens are in the prompt's already, thoughts are not in the candidates'."""
    said = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 48}
    more = {"thoughtsTokenCount": 30, "toolUsePromptTokenCount": 3, "cachedContentTokenCount": 4}
    assert gemini(**said, **more) == {
        "tokens_in": 13,
        "tokens_out": 35,
        "tokens_total": 48,
        "tokens_cached": 4,
        "tokens_reasoning": 30,
    }


def test_gemini_says_by_the_sum_what_the_candidates_include() -> None:
    """Some versions count the thoughts among the candidates' tokens."""
    said = {"promptTokenCount": 10, "candidatesTokenCount": 35, "thoughtsTokenCount": 30}
    assert gemini(**said, totalTokenCount=45)["tokens_out"] == 35
    assert gemini(**said, totalTokenCount=75)["tokens_out"] == 65
    assert gemini(**said)["tokens_out"] == 65


def test_gemini_without_candidates() -> None:
    """A blocked prompt made nothing; one that was only thought about made thoughts."""
    assert gemini(promptTokenCount=7, totalTokenCount=7)["tokens_out"] == 0
    assert gemini(promptTokenCount=7, thoughtsTokenCount=5, totalTokenCount=12)["tokens_out"] == 5
    assert gemini(promptTokenCount=7) == {"tokens_in": 7}
    assert gemini(totalTokenCount=7) == {"tokens_total": 7}


def test_ollama() -> None:
    """A prompt that was cached is not stated by older versions, and then not known."""
    both = {"prompt_eval_count": raw(26), "eval_count": raw(298)}
    stated = usage_fields.of_ollama(both)
    wanted = {"tokens_in": 26, "tokens_out": 298, "tokens_total": 324}
    assert amounts.meters(stated, "ollama") == wanted
    assert amounts.meters(usage_fields.of_ollama({"eval_count": raw(2)}), "auto") == {
        "tokens_out": 2
    }


@pytest.mark.parametrize(
    ("transcripts", "expected"),
    [
        ([{"content_duration_in_milliseconds": 3720, "channel_id": 0}], {"audio_ms": 3720}),
        (
            [{"content_duration_in_milliseconds": n} for n in (3720, 1000)],
            {"audio_ms": 4720},
        ),
        ({"content_duration_in_milliseconds": 50}, {"audio_ms": 50}),
        ([{"content_duration_in_milliseconds": 3720}, {}], {}),
        ([], {}),
        ("none", {}),
    ],
    ids=str,
)
def test_speech_is_summed_over_channels(transcripts: object, expected: dict[str, int]) -> None:
    """Each channel is charged; where one is not known the sum is not either."""
    assert usage_fields.of_transcripts(raw(transcripts)) == expected


def test_a_sum_of_other_dialects_not_to_be_believed_is_left_out() -> None:
    """As everywhere."""
    assert "tokens_total" not in gemini(promptTokenCount=MAX_QUANTITY, candidatesTokenCount=1)
    models = [{"input_tokens": MAX_QUANTITY}, {"input_tokens": 1, "output_tokens": 2}]
    assert meters({"models": models}) == {"tokens_out": 2}


NAMES = [
    *CHAT,
    *MESSAGES,
    "cached_tokens",
    "image_count",
    "video_duration",
    "video_count",
    "models",
]
MORE = ["duration", "seconds", "billed_units", "tokens", "promptTokenCount", "thoughtsTokenCount"]


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES + MORE), inner),
    ),
    st.sampled_from(["auto", "dashscope"]),
)
def test_any_usage_gives_believable_meters(usage: object, dialect: Dialect) -> None:
    """Whatever stands there, a meter's value is between 0 and the bound."""
    document = raw(usage)
    for stated in (
        usage_fields.of_usage(document, dialect),
        usage_fields.of_gemini(document),
        usage_fields.of_cohere(document),
        usage_fields.of_transcripts(document),
    ):
        read = amounts.meters(stated, dialect)
        assert all(0 <= value <= MAX_QUANTITY for value in read.values())
