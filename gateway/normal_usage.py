"""KooGallery's `usage` (spec §1.3): top-level, with `prompt_tokens`, `completion_tokens` and
`total_tokens` as integers, whatever the API behind calls them. What is known is written, never
guessed. Pure.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway import lenient
from metering.usage import Quantity

_NAMES: Final = {
    "tokens_in": "prompt_tokens",
    "tokens_out": "completion_tokens",
    "tokens_total": "total_tokens",
}


def counts_of(read: Mapping[str, Quantity]) -> dict[str, int]:
    """The members of `usage` that quantities amount to; without tokens, none."""
    counts = {name: read[meter].value for meter, name in _NAMES.items() if meter in read}
    said = counts.get("prompt_tokens")
    if said is not None and "completion_tokens" not in counts:
        total = counts.get("total_tokens", said)
        if total == said:  # an embedding: nothing was made
            counts |= {"completion_tokens": 0, "total_tokens": total}
    return counts


def completed(usage: msgspec.Raw | None, counts: Mapping[str, int]) -> dict[str, msgspec.Raw]:
    """The members of a usage object with these counts; what else it says stays."""
    members = {} if usage is None else lenient.members(usage) or {}
    return members | {name: msgspec.Raw(b"%d" % value) for name, value in counts.items()}


def rewritten(document: bytes, counts: Mapping[str, int]) -> bytes:
    """A JSON object with these counts in its `usage`; itself where it says so, or is no object."""
    members = lenient.members(document) if counts else None
    if members is None:
        return document
    usage = members.get("usage")
    said = {} if usage is None else lenient.members(usage) or {}
    wanted = completed(usage, counts)
    if wanted == said:
        return document
    raw = msgspec.Raw(msgspec.json.encode(wanted))
    return msgspec.json.encode(members | {"usage": raw})
