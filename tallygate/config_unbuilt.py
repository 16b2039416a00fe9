"""Settings that are fixed by name already but not built yet. Any other value than the default is
refused: a setting that is accepted and then ignored would be worse than none. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tallygate.config_errors import Place, Problem
from tallygate.config_schema import Config
from tallygate.config_shape import field_at

# `*` stands for every item of a list. When a setting is built, its line goes.
SETTINGS: Final[tuple[str, ...]] = ()


def unbuilt(config: Config, settings: Sequence[str] = SETTINGS) -> Iterator[Problem]:
    """Each setting of `config` that asks for something that is not built yet."""
    for setting in settings:
        for place, value in _values(config, tuple(setting.split(".")), ()):
            field = field_at(place)
            if field is not None and value != field.get_default(call_default_factory=True):
                yield Problem(place, _refusal(field))


def _values(value: Any, steps: tuple[str, ...], place: Place) -> Iterator[tuple[Place, Any]]:
    if not steps:
        yield place, value
    elif steps[0] == "*":
        for index, item in enumerate(value):
            yield from _values(item, steps[1:], (*place, index))
    elif isinstance(value, BaseModel):
        yield from _values(getattr(value, steps[0]), steps[1:], (*place, steps[0]))


def _refusal(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default in (None, [], {}):
        return "this setting is not yet built; leave it out"
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"another value than {shown} is not yet built; leave it out or write {shown}"
