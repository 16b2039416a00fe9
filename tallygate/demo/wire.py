"""How the stub upstream's replies look on the wire: JSON bodies and SSE events. Pure."""

import json
from collections.abc import Mapping
from typing import Final

WORD: Final = "tick "
DONE: Final = b"data: [DONE]\n\n"
CREATED: Final = 1_700_000_000  # never a real moment: the stub has no clock


def json_bytes(value: object) -> bytes:
    """Compact JSON, as APIs send it."""
    return json.dumps(value, separators=(",", ":")).encode()


def data_event(value: object) -> bytes:
    """An SSE event without a name, as OpenAI sends completions."""
    return b"data: " + json_bytes(value) + b"\n\n"


def named_event(value: Mapping[str, object]) -> bytes:
    """An SSE event named after its `type`, as OpenAI sends responses and Anthropic messages."""
    return b"event: " + str(value["type"]).encode() + b"\n" + data_event(value)
