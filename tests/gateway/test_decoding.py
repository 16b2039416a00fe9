"""Packed bodies are unpacked for reading, whatever their pieces, and never without bound."""

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import decoding
from gateway.decoding import unpacker
from gateway.unpacking import MAX_DECODED, Unreadable
from tests.gateway.codings import zstd


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's frame, as some servers send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def unpack(coding: bytes, chunks: list[bytes]) -> tuple[bytes, bool]:
    """What the chunks unpack to, and whether they ended where they should."""
    reader = unpacker(coding)
    assert reader is not None
    out = b"".join(piece for chunk in chunks for piece in reader.feed(chunk))
    return out, reader.whole


CODINGS = [b"gzip", b"deflate", b"br", b"zstd"]
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"  # a frame of zstd that holds nothing
PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b" Deflate ": raw_deflate,
    b"X-GZIP": lambda data: gzip.compress(data[:5]) + gzip.compress(b"") + gzip.compress(data[5:]),
    b"br": brotli.compress,
    b"zstd": zstd.compress,
    b" ZSTD": lambda data: (
        SKIPPABLE + zstd.compress(data[:5]) + SKIPPABLE + zstd.compress(data[5:])
    ),
}


@settings(deadline=None)
@given(data=st.binary(max_size=300), coding=st.sampled_from(list(PACKED)), step=st.integers(1, 40))
def test_round_trip_in_any_pieces(data: bytes, coding: bytes, step: int) -> None:
    """Every coding unpacks to what was packed."""
    packed = PACKED[coding](data)
    chunks = [packed[i : i + step] for i in range(0, len(packed), step)]
    assert unpack(coding, chunks) == (data, True)


@pytest.mark.parametrize("coding", PACKED)
def test_a_small_chunk_may_unpack_to_much(coding: bytes) -> None:
    """All of it comes out with the chunk that held it."""
    data = b"\0" * 1_000_000
    assert unpack(coding, [PACKED[coding](data)]) == (data, True)


def test_both_kinds_of_deflate_are_told_apart() -> None:
    """Raw deflate is not taken for zlib's because one of its two marks fits by chance."""
    for data in (bytes([first, second]) for first in range(32) for second in range(32)):
        assert unpack(b"deflate", [raw_deflate(data)]) == (data, True)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(CODINGS), st.integers(1, 9))
def test_any_bytes_are_read_or_refused(data: bytes, coding: bytes, step: int) -> None:
    """Garbage is refused with the one named condition, wherever it is cut."""

    def outcome(chunks: list[bytes]) -> object:
        try:
            return unpack(coding, chunks)
        except Unreadable:
            return Unreadable

    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    assert outcome([data]) == outcome(pieces)


@pytest.mark.parametrize("coding", [b"", b"identity", b" Identity "])
def test_identity_needs_no_unpacking(coding: bytes) -> None:
    """A body that is not packed has no unpacker."""
    assert unpacker(coding) is None


@pytest.mark.parametrize("coding", [b"compress", b"br, gzip", b"gzip, gzip", b"\xff"])
def test_an_unknown_coding_is_refused(coding: bytes) -> None:
    """What cannot be unpacked says so."""
    with pytest.raises(Unreadable):
        unpacker(coding)


def test_a_cut_body_is_not_whole() -> None:
    """What came is unpacked, and it is known that more should have come."""
    packed = gzip.compress(b"a" * 100)
    assert unpack(b"gzip", [packed[:-4]]) == (b"a" * 100, False)
    assert unpack(b"gzip", [packed, packed[:5]]) == (b"a" * 100, False)
    assert unpack(b"deflate", [b"\x78"]) == (b"", False)
    for coding in (b"br", b"zstd"):
        assert not unpack(coding, [PACKED[coding](b"a" * 100)[:-2]])[1]
        assert unpack(coding, []) == (b"", False)


def test_padding_and_garbage_behind_the_end_are_ignored() -> None:
    """As gzip itself does, wherever the cut falls."""
    packed = gzip.compress(b"x")
    for tail in (b"\0" * 9, b"\0garbage", b"garbage" + packed):
        assert unpack(b"gzip", [packed + tail]) == (b"x", True)
        assert unpack(b"gzip", [packed, *(tail[i : i + 1] for i in range(len(tail)))]) == (
            b"x",
            True,
        )
    assert unpack(b"deflate", [zlib.compress(b"x") + b"tail"]) == (b"x", True)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_refused_before_it_unfolds(coding: bytes) -> None:
    """Unpacking comes in small pieces and stops at the bound."""
    reader = unpacker(coding)
    assert reader is not None
    pieces = reader.feed(PACKED[coding](b"\0" * (MAX_DECODED + 1)))
    sizes: list[int] = []
    with pytest.raises(Unreadable):
        sizes.extend(map(len, pieces))
    assert max(sizes) <= 64 * 1024
    assert sum(sizes) <= MAX_DECODED


@pytest.mark.parametrize("coding", [b"br", b"zstd"])
def test_what_follows_the_end_spoils_it(coding: bytes) -> None:
    """Neither coding knows padding: garbage behind it is none of ours, wherever the cut falls."""
    packed = PACKED[coding](b"x" * 50)
    for chunks in ([packed + b"garbage"], [packed, b"garbage"]):
        with pytest.raises(Unreadable):
            unpack(coding, chunks)


def test_a_window_too_large_for_http_is_refused() -> None:
    """A frame may ask for 2 GiB of memory before its first byte is unpacked (RFC 9659)."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    packed = zstd.compress(b"x" * 1_000_000, options=options)
    plain = zstd.ZstdCompressor(options=options)
    streamed = plain.compress(b"x" * 1_000_000) + plain.flush()
    assert unpack(b"zstd", [packed]) == (b"x" * 1_000_000, True)
    with pytest.raises(Unreadable):
        unpack(b"zstd", [streamed])


@pytest.mark.parametrize(
    ("content_type", "json", "stream"),
    [
        (b"application/json", True, False),
        (b"Application/JSON; charset=utf-8", True, False),
        (b"application/vnd.api+json;v=1", True, False),
        (b"text/event-stream;charset=utf-8", False, True),
        (b" TEXT/Event-Stream ", False, True),
        (b"application/x-ndjson", False, False),
        (b"application/stream+json", False, False),
        (b"application/jsonp", False, False),
        (b"text/plain; x=application/json", False, False),
        (b"", False, False),
    ],
)
def test_media_types(content_type: bytes, json: bool, stream: bool) -> None:
    """Parameters and letter case do not matter."""
    assert decoding.is_json(content_type) is json
    assert decoding.is_event_stream(content_type) is stream


@pytest.mark.parametrize(
    ("content_type", "lines"),
    [
        (b"application/x-ndjson", True),
        (b"Application/JSONL; charset=utf-8", True),
        (b"application/stream+json", True),
        (b"application/json", False),
        (b"application/json-seq", False),
    ],
)
def test_lines_of_json(content_type: bytes, lines: bool) -> None:
    """Values a line each have no one name."""
    assert decoding.is_json_lines(content_type) is lines
