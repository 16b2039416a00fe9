"""The tap takes the injected usage out of a stream, and nothing else."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.replies import (
    CHAT,
    CHAT_STREAM,
    CHAT_USAGE,
    JSON,
    SHAPES,
    VLLM_STREAM,
    Shape,
    delta,
    openai_like,
    run,
    sse,
    tap,
    values,
)

CONTENT = [delta('\\"usage\\":null, "usage": null'), {**delta("", "stop"), "x": {"usage": None}}]


def stripped(chunks: list[bytes]) -> bytes:
    """What the client gets of an injected stream; the readings must be there all the same."""
    watch = tap(injected=True)
    out = run(watch, chunks)
    assert values(watch) == CHAT
    return out


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_client_gets_what_it_would_have_got(shape: Shape) -> None:
    """At every split the stripped stream is, byte for byte, the one without include_usage."""
    sent = openai_like(CONTENT, shape, usage=True)
    wanted = openai_like(CONTENT, shape, usage=False)
    assert sent != wanted
    for cut in range(len(sent) + 1):
        assert stripped([sent[:cut], sent[cut:]]) == wanted, cut
    assert stripped([sent[i : i + 1] for i in range(len(sent))]) == wanted


@st.composite
def injected_streams(draw: st.DrawFn) -> tuple[bytes, bytes, list[int]]:
    """A stream with usage, the one without, and where it is cut."""
    shape = replace(draw(st.sampled_from(list(SHAPES.values()))), place=draw(st.integers(0, 4)))
    chunks = [delta(text) for text in draw(st.lists(st.text(max_size=8), min_size=1, max_size=4))]
    sent = openai_like(chunks, shape, usage=True)
    cuts = draw(st.lists(st.integers(0, len(sent)), max_size=12))
    return sent, openai_like(chunks, shape, usage=False), sorted(cuts)


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream in chunks."""
    edges = [0, *cuts, len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@settings(deadline=None)
@given(injected_streams())
def test_any_content_in_any_pieces_is_stripped(case: tuple[bytes, bytes, list[int]]) -> None:
    """Whatever the model says and however it arrives."""
    sent, wanted, cuts = case
    assert stripped(split(sent, cuts)) == wanted


def test_usage_beside_content_is_not_taken_out() -> None:
    """A chunk with choices is the client's, usage and all."""
    watch = tap(injected=True)
    assert run(watch, [VLLM_STREAM]) == VLLM_STREAM
    assert values(watch) == CHAT


def test_a_cut_injected_stream_loses_no_byte() -> None:
    """What was held back comes out at the end, unless it is known to be the injected event."""
    extra = sse({"choices": [], "usage": CHAT_USAGE})
    start = CHAT_STREAM.index(extra)
    for cut in range(len(CHAT_STREAM)):
        sent = CHAT_STREAM[:cut]
        known = cut >= start + len(extra.rstrip())
        wanted = sent[:start] + sent[start + len(extra) :] if known else sent
        assert run(tap(injected=True), [sent], complete=False) == wanted, cut


def test_an_error_instead_of_a_stream_passes() -> None:
    """The upstream may answer an injected request with JSON."""
    watch = tap(content_type=JSON, injected=True)
    body = b'{"error":{"message":"no"},"usage":null}'
    assert run(watch, [body]) == body
