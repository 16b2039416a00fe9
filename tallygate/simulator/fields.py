"""Text fields of the merchant's replies: presence and length, by the tables of spec §2. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from .findings import Finding


class TextField(NamedTuple):
    """One row of a field table; `length` is the maximum number of characters."""

    name: str
    length: int
    mandatory: bool = False


APP_INFO: Final = (
    TextField("frontEndUrl", 512, mandatory=True),
    TextField("adminUrl", 512),
    TextField("userName", 128),
    TextField("password", 128),
    TextField("memo", 1024),
)
INSTANCE_ID: Final = TextField("instanceId", 64, mandatory=True)
RELATED_INSTANCE_ID: Final = TextField("relatedInstanceId", 64)
DASHBOARD_URL: Final = TextField("dashboardUrl", 512)
RESULT_MSG: Final = TextField("resultMsg", 255, mandatory=True)  # the FAQ wants it present


def check_texts(
    value: Mapping[str, object], fields: Iterable[TextField], where: str = ""
) -> Iterator[Finding]:
    """A finding for every field that is missing, no text, or too long. Values are not repeated."""
    for field in fields:
        if wrong := _wrong(value.get(field.name), field):
            yield Finding("field", f"{where}{field.name} {wrong}")


def _wrong(value: object, field: TextField) -> str:
    if value is None:
        return "is missing: reply lacks it" if field.mandatory else ""
    if not isinstance(value, str):
        return "must be text"
    if field.mandatory and not value:
        return "is empty"
    return f"is longer than {field.length} characters" if len(value) > field.length else ""
