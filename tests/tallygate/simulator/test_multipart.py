"""Multipart bodies: what was put together comes apart, and what is none is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.errors import BadRequest
from tallygate.simulator.multipart import MAX_PARTS, Part, read_parts

TYPE = "multipart/form-data; boundary=frontier"
NAMES = st.text("abcXYZ._- 李", min_size=1, max_size=10)
PARTS = st.lists(
    st.builds(
        Part,
        name=NAMES,
        content=st.binary(max_size=100).filter(lambda content: b"frontier" not in content),
        content_type=st.sampled_from(["", "application/json", "text/plain; charset=utf-8"]),
        file_name=st.none() | NAMES,
    ),
    min_size=1,
    max_size=MAX_PARTS,
)


def form(*parts: Part, boundary: str = "frontier") -> bytes:
    """As RFC 7578 writes it."""
    body = b""
    for part in parts:
        named = f'form-data; name="{part.name}"'
        if part.file_name is not None:
            named += f'; filename="{part.file_name}"'
        head = f"--{boundary}\r\nContent-Disposition: {named}\r\n"
        if part.content_type:
            head += f"Content-Type: {part.content_type}\r\n"
        body += head.encode() + b"\r\n" + part.content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


@given(PARTS)
def test_it_comes_apart(parts: list[Part]) -> None:
    """Whatever bytes the parts hold."""
    assert read_parts(TYPE, form(*parts)) == parts


@given(st.binary(max_size=300), st.sampled_from([TYPE, "multipart/form-data", "application/json"]))
def test_anything_else_is_refused_or_read(body: bytes, content_type: str) -> None:
    """It never fails in another way."""
    try:
        read_parts(content_type, body)
    except BadRequest:
        return


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("application/json", b"{}", "must be multipart"),
        ("multipart/form-data", b"", "with a boundary"),
        (TYPE, b"", "does not end"),
        (TYPE, form(Part("a", b"1"))[:-6], "does not end"),
        (TYPE, b"--frontier\r\nContent-Disposition: form-data\r\n\r\n1\r\n--frontier--", "name="),
        (TYPE, b"--frontier\r\nno empty line\r\n--frontier--", "empty line"),
        (TYPE, form(*[Part("a", b"1")] * (MAX_PARTS + 1)), "more than"),
    ],
)
def test_what_is_none(content_type: str, body: bytes, said: str) -> None:
    """With a sentence that says why."""
    with pytest.raises(BadRequest, match=said):
        read_parts(content_type, body)
