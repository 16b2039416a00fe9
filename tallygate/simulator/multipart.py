"""`multipart/form-data` as strictly as the upload of licences needs it (RFC 7578). Pure."""

import re
from dataclasses import dataclass
from typing import Final

from .errors import BadRequest

MAX_PARTS: Final = 10
_BOUNDARY = re.compile(
    r'multipart/form-data; *boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70}?)"?', re.I
)
_PARAMETER = re.compile(r'; *(name|filename)="([^"]*)"')


@dataclass(frozen=True)
class Part:
    """One part. `file_name` is None where there is none."""

    name: str
    content: bytes
    content_type: str = ""
    file_name: str | None = None


def read_parts(content_type: str, body: bytes) -> list[Part]:
    """Every part in order; raises BadRequest for what is no form of at most MAX_PARTS parts."""
    found = _BOUNDARY.fullmatch(content_type.strip())
    if found is None:
        raise BadRequest("Content-Type must be multipart/form-data with a boundary")
    delimiter = b"\r\n--" + found[1].encode("ascii")
    pieces = (b"\r\n" + body).split(delimiter)
    if pieces[-1].strip(b"\r\n") != b"--" or len(pieces) < 3:
        raise BadRequest("the body does not end as multipart ends, or has no part")
    if len(pieces) - 2 > MAX_PARTS:
        raise BadRequest(f"more than {MAX_PARTS} parts")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, found, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not found:
        raise BadRequest("a part has no empty line after its headers")
    headers = _headers(head)
    disposition = headers.get("content-disposition", "")
    parameters = dict(_PARAMETER.findall(disposition))
    if not disposition.lower().startswith("form-data") or "name" not in parameters:
        raise BadRequest("a part has no Content-Disposition: form-data; name=…")
    return Part(
        name=parameters["name"],
        content=content,
        content_type=headers.get("content-type", ""),
        file_name=parameters.get("filename"),
    )


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("utf-8", errors="replace").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
