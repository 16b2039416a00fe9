"""The wire fields of usage by dialect, as tables, and how one object's are read. Pure.

| from | object | fields |
|---|---|---|
| OpenAI, Mistral | `usage` | `prompt_tokens`, `completion_tokens`, `total_tokens`, `input_tokens`, `output_tokens`, `seconds`, `prompt_audio_seconds` |
| Anthropic | `usage` | `input_tokens`, `output_tokens`, `cache_read_input_tokens`, `cache_creation_input_tokens` |
| DashScope | `usage` | OpenAI's, `image_count`, `video_duration`, `duration`, `seconds`, `characters`, `models` |
| Cohere | `usage`, `meta` | `billed_units`, `tokens` |
| Gemini | `usageMetadata` | `promptTokenCount` and the like |
| Ollama | the reply | `prompt_eval_count`, `eval_count` |
| KooGallery | `usage`, the reply | OpenAI's, `image_count`, `video_duration`; `transcripts` |

What is read is named as on the wire, `images`, `video_ms`, `audio_ms` and `characters` as the meters.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway import lenient
from gateway.amounts import Dialect
from metering.usage import MAX_QUANTITY

Members = Mapping[str, msgspec.Raw]

_COUNTS: Final = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_creation_input_tokens": "cache_creation_input_tokens",
    "image_count": "images",
    "characters": "characters",
}
_DETAILS: Final = {
    "prompt_tokens_details": ("cached_tokens",),
    "input_tokens_details": ("cached_tokens",),
    "input_token_details": ("cached_tokens",),
    "completion_tokens_details": ("reasoning_tokens",),
    "output_tokens_details": ("reasoning_tokens",),
    "output_token_details": ("reasoning_tokens",),
}
_COHERE: Final = ("billed_units", "tokens")
_PAIR: Final = ("input_tokens", "output_tokens")
_SECONDS: Final = {
    "prompt_audio_seconds": "audio_ms",
    "seconds": "audio_ms",
    "video_duration": "video_ms",
}
_SPECIAL: Final = frozenset({*_COHERE, *_SECONDS, "duration", "models"})
_GEMINI: Final = (
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
    "totalTokenCount",
)
_OLLAMA: Final = ("prompt_eval_count", "eval_count")
_SPEECH: Final = "content_duration_in_milliseconds"

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def of_usage(usage: msgspec.Raw, dialect: Dialect) -> dict[str, int]:
    """What a `usage` object states."""
    stated = lenient.members(usage) or {}
    read: dict[str, int] = {}
    for name, value in stated.items():
        meant = _COUNTS.get(name)
        if meant is not None:
            number = lenient.quantity(value)
            if number is not None:
                read[meant] = number
        elif name in _DETAILS:
            read |= _quantities(_parts(value, _DETAILS[name]))
        elif name in _SPECIAL:
            read |= _special(stated, name, dialect)
    return read


def _special(stated: Members, name: str, dialect: Dialect) -> dict[str, int]:
    """What one of the members states that not all APIs have."""
    if name in _COHERE:
        return _under(name, stated[name])
    if name == "models":
        return _of_models(stated[name])
    meter = _SECONDS.get(name) or _meter_of_duration(stated, dialect)
    return _milliseconds(stated[name], meter) if meter else {}


def of_cohere(meta: msgspec.Raw) -> dict[str, int]:
    """What the `meta` of Cohere's first version states."""
    stated = lenient.members(meta) or {}
    read: dict[str, int] = {}
    for name in _COHERE:
        if name in stated:
            read |= _under(name, stated[name])
    return read


def of_gemini(metadata: msgspec.Raw) -> dict[str, int]:
    """What a `usageMetadata` object states."""
    return _quantities(_parts(metadata, _GEMINI))


def of_ollama(reply: Members) -> dict[str, int]:
    """What stands beside an Ollama reply's answer."""
    return _quantities({name: reply[name] for name in _OLLAMA if name in reply})


def of_transcripts(transcripts: msgspec.Raw) -> dict[str, int]:
    """How long was spoken, over all channels: each is charged (KooGallery's audio item, spec §1.4)."""
    spoken = lenient.quantity_at(transcripts, (_SPEECH,))
    return {} if spoken is None else {"audio_ms": spoken}


def _parts(value: msgspec.Raw, names: tuple[str, ...]) -> dict[str, msgspec.Raw]:
    members = lenient.members(value) or {}
    return {name: members[name] for name in names if name in members}


def _quantities(found: Members) -> dict[str, int]:
    read = {name: lenient.quantity(value) for name, value in found.items()}
    return {name: value for name, value in read.items() if value is not None}


def _under(name: str, value: msgspec.Raw) -> dict[str, int]:
    return {f"{name}.{part}": read for part, read in _quantities(_parts(value, _PAIR)).items()}


def _milliseconds(seconds: msgspec.Raw, meter: str) -> dict[str, int]:
    read = lenient.scaled(seconds, 1000)
    return {} if read is None else {meter: read}


def _meter_of_duration(stated: Members, dialect: Dialect) -> str | None:
    """DashScope's `duration` is a video's beside `video_count`, else of what was heard."""
    if "video_count" in stated:
        return None if "video_duration" in stated else "video_ms"
    return "audio_ms" if dialect == "dashscope" else None


def _of_models(models: msgspec.Raw) -> dict[str, int]:
    """What an application of DashScope used, over all models it asked."""
    each = [_quantities(_parts(model, _PAIR)) for model in lenient.decode(_LIST, models) or ()]
    sums = {name: sum(model[name] for model in each if name in model) for name in _PAIR}
    stated = {name for model in each for name in model}
    return {
        f"models.{name}": sums[name]
        for name in _PAIR
        if name in stated and sums[name] <= MAX_QUANTITY
    }
