"""An uploaded licence: what the open API takes of one (spec §4.1). Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from .batches import PushRefused
from .errors import BadRequest
from .multipart import Part, read_parts

FORM: Final = "isvUpdateFileReq"
FILE: Final = "file"
_LENGTHS: Final = {"type": 10, "file_name": 1024, "sha256": 1024, "characters": 1024}


@dataclass(frozen=True)
class Upload:
    """One licence: a text, or a file with its name."""

    content: bytes = field(repr=False)
    file_name: str | None = None

    def as_json(self) -> dict[str, object]:
        """Its digest; the text itself as well, for the simulator's user is both sides."""
        digest = hashlib.sha256(self.content).hexdigest()
        if self.file_name is None:
            return {"type": "CHARACTERS", "characters": self.content.decode(), "sha256": digest}
        shown = {"type": "FILE", "file_name": self.file_name, "size": len(self.content)}
        return {**shown, "sha256": digest}


def read_upload(content_type: str, body: bytes) -> Upload:
    """Raises PushRefused with the documented code."""
    try:
        parts = read_parts(content_type, body)
    except BadRequest as wrong:
        raise _invalid(str(wrong)) from None
    form = _form(_only(parts, FORM))
    kind = form.get("type")
    if kind == "CHARACTERS":
        return _characters(form, parts)
    if kind == "FILE":
        return _file(form, parts)
    raise _invalid("type must be CHARACTERS or FILE")


def _characters(form: Mapping[str, str], parts: Sequence[Part]) -> Upload:
    if len(parts) != 1:
        raise _invalid("a licence of CHARACTERS has no other part")
    if not form.get("characters"):
        raise _invalid("characters is missing")
    return Upload(form["characters"].encode())


def _file(form: Mapping[str, str], parts: Sequence[Part]) -> Upload:
    part = _only(parts, FILE)
    if part.file_name is None:
        raise _invalid("the part file has no filename")
    for name in ("file_name", "sha256"):
        if not form.get(name):
            raise _invalid(f"{name} is missing")
    if hashlib.sha256(part.content).hexdigest() != form["sha256"].lower():
        raise PushRefused(500, "MKT.0100", "sha256 is not that of the file")
    return Upload(part.content, form["file_name"])


def _form(part: Part) -> dict[str, str]:
    if part.content_type.partition(";")[0].strip().lower() != "application/json":
        raise _invalid(f"the part {FORM} must be application/json")
    try:
        form = json.loads(part.content)
    except (ValueError, RecursionError):
        raise _invalid(f"the part {FORM} is not JSON") from None
    if not isinstance(form, dict):
        raise _invalid(f"the part {FORM} is not a JSON object")
    if unknown := sorted(set(form) - set(_LENGTHS)):
        raise _invalid(f"unknown field {unknown[0][:64]!r}")
    given = {name: value for name, value in form.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, str) or len(value) > _LENGTHS[name]:
            raise _invalid(f"{name} must be text of at most {_LENGTHS[name]} characters")
    return given


def _only(parts: Sequence[Part], name: str) -> Part:
    found = [part for part in parts if part.name == name]
    if len(found) != 1 or len(parts) > 2:
        raise _invalid(f"there must be one part named {name}, and no other but {FORM} and {FILE}")
    return found[0]


def _invalid(message: str) -> PushRefused:
    return PushRefused(400, "MKT.0101", message)
