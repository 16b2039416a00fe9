"""What the wire fields of usage amount to: meters, in their smallest unit. Pure.

Convention, after OpenTelemetry's GenAI semantic conventions ("gen_ai.usage.input_tokens SHOULD
include all types of input tokens, including cached tokens"): `tokens_in` includes the cached tokens.
OpenAI's, Gemini's and DashScope's counts do already; Anthropic's `input_tokens` leaves out what was
read from or written to the cache, so it is added. `tokens_cached` and `tokens_reasoning` are parts,
never added again; only Gemini's `candidatesTokenCount` leaves the reasoning out. Totals are summed.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from metering.usage import MAX_QUANTITY

Dialect = Literal[
    "auto",
    "openai",
    "anthropic",
    "gemini",
    "dashscope",
    "ollama",
    "cohere",
    "mistral",
    "koogallery",
    "none",
]

METERS: Final = ("tokens_in", "tokens_out", "tokens_total", "tokens_cached", "tokens_reasoning")

# Other meters stand in the merged fields by their own names.
AS_THEY_ARE: Final = ("images", "video_ms", "audio_ms", "characters")

# What else says tokens in and out, in the order in which it counts: Cohere, Ollama.
_PAIRS: Final = (
    ("billed_units.input_tokens", "billed_units.output_tokens"),
    ("tokens.input_tokens", "tokens.output_tokens"),
    ("models.input_tokens", "models.output_tokens"),
    ("prompt_eval_count", "eval_count"),
)


class Counts(msgspec.Struct, gc=False):
    """OpenAI's and Anthropic's counts by their wire names, details flattened; None where not stated."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    def stated(self) -> dict[str, int]:
        """Those that are stated, as usage_fields.py has them."""
        named = msgspec.structs.asdict(self)
        return {name: value for name, value in named.items() if value is not None}


NOTHING_STATED: Final = Counts()
_NAMES: Final = Counts.__struct_fields__
COUNTED: Final = frozenset(_NAMES)


def meters(stated: Mapping[str, int], dialect: Dialect) -> dict[str, int]:
    """The meters that merged wire fields amount to."""
    counts = Counts(*[stated.get(name) for name in _NAMES])
    said = amounts(counts, dialect)
    if said[0] is None and said[1] is None:
        said = _said_otherwise(stated) or said
    read = {meter: value for meter, value in zip(METERS, said, strict=True) if value is not None}
    return read | {meter: stated[meter] for meter in AS_THEY_ARE if meter in stated}


def amounts(stated: Counts, dialect: Dialect) -> tuple[int | None, ...]:
    """Of each of METERS what was read, None for nothing.

    A reported total counts only if a part is missing.
    """
    tokens_in = _tokens_in(stated, dialect)
    tokens_out = stated.completion_tokens
    if tokens_out is None:
        tokens_out = stated.output_tokens
    if tokens_in is None or tokens_out is None:
        total = stated.total_tokens
    else:
        total = tokens_in + tokens_out
    cached = stated.cached_tokens
    if cached is None:
        cached = stated.cache_read_input_tokens
    if tokens_in is not None and tokens_in > MAX_QUANTITY:
        tokens_in = None
    if total is not None and total > MAX_QUANTITY:
        total = None
    return tokens_in, tokens_out, total, cached, stated.reasoning_tokens


def _tokens_in(stated: Counts, dialect: Dialect) -> int | None:
    # Some gateways report OpenAI's prompt_tokens with Anthropic's cache fields beside it; the
    # former already includes the latter.
    if stated.prompt_tokens is not None:
        return stated.prompt_tokens
    said = stated.input_tokens
    if said is None or not _excludes_cache(stated, dialect):
        return said
    read = stated.cache_read_input_tokens or 0
    return said + read + (stated.cache_creation_input_tokens or 0)


def _excludes_cache(stated: Counts, dialect: Dialect) -> bool:
    """Both families say `input_tokens`; only OpenAI's comes with a details object."""
    if dialect == "auto":
        return stated.cached_tokens is None
    return dialect == "anthropic"


def _said_otherwise(stated: Mapping[str, int]) -> tuple[int | None, ...] | None:
    """The same as `amounts`, of those that say it in fields of their own."""
    for name_in, name_out in _PAIRS:
        if name_in in stated or name_out in stated:
            return _summed(stated.get(name_in), stated.get(name_out), None, None, None)
    return _gemini(stated)


def _gemini(stated: Mapping[str, int]) -> tuple[int | None, ...] | None:
    said, made = stated.get("promptTokenCount"), stated.get("candidatesTokenCount")
    total, thought = stated.get("totalTokenCount"), stated.get("thoughtsTokenCount")
    if said is not None:
        said += stated.get("toolUsePromptTokenCount", 0)
    # Where the sum says so, the candidates' tokens include those of the thoughts already.
    if thought is not None and not (said is not None and said + (made or 0) == total):
        made = (made or 0) + thought
    if said is None and made is None and total is None:
        return None
    if made is None and said is not None and total is not None and total >= said:
        made = total - said  # a prompt that was blocked has no candidates at all
    return _summed(said, made, total, stated.get("cachedContentTokenCount"), thought)


def _summed(
    tokens_in: int | None,
    tokens_out: int | None,
    total: int | None,
    cached: int | None,
    reasoning: int | None,
) -> tuple[int | None, ...]:
    """Each within the bound; the total summed if both parts are known."""
    if tokens_in is not None and tokens_out is not None:
        total = tokens_in + tokens_out
    read = (tokens_in, tokens_out, total, cached, reasoning)
    return tuple([None if each is not None and each > MAX_QUANTITY else each for each in read])
