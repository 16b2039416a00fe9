"""Writes metrics out in the format that was asked for: Prometheus text, or OpenMetrics."""

from typing import Any, Final

from prometheus_client.exposition import (
    CONTENT_TYPE_PLAIN_0_0_4,
    choose_encoder,
    generate_latest,
)

_MOST_ACCEPT: Final = 1024  # characters of an Accept header


def encoded(registry: Any, accept: str) -> tuple[bytes, str]:
    """What a registry or a collector shows, and its content type; plain text in doubt."""
    try:
        encode, content_type = choose_encoder(accept[:_MOST_ACCEPT])
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
    return encode(registry), content_type
