"""What the models say about a place: its keys, whether it may be null, whether it is a secret. Pure."""

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from tallygate.config_errors import Place
from tallygate.config_schema import Config


def keys_at(place: Place) -> tuple[str, ...]:
    """The valid keys of the section at `place`; empty where there is no section."""
    model = _model(_annotation_at(place))
    return tuple(model.model_fields) if model else ()


def field_at(place: Place) -> FieldInfo | None:
    """The field of a section that stands at `place`."""
    model = _model(_annotation_at(place[:-1])) if place else None
    return model.model_fields.get(str(place[-1])) if model else None


def may_be_null(place: Place) -> bool:
    """False only for fields of a section whose type knows no null."""
    field = field_at(place)
    return field is None or NoneType in _options(field.annotation)


def may_be_absent_secret(place: Place) -> bool:
    """Whether a secret stands here that the installation can do without."""
    options = _options(_annotation_at(place))
    return SecretStr in options and NoneType in options


def _annotation_at(place: Place) -> Any:
    found: Any = Config
    for step in place:
        found = _child(found, step)
    return found


def _child(annotation: Any, step: str | int) -> Any:
    model = _model(annotation)
    if model:
        field = model.model_fields.get(str(step))
        return field.annotation if field else None
    for option in _options(annotation):
        if get_origin(option) in (list, dict):
            return get_args(option)[-1]
    return None


def _model(annotation: Any) -> type[BaseModel] | None:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _options(annotation: Any) -> tuple[Any, ...]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _options(arguments[0])
    if origin in (Union, UnionType):
        return tuple(option for argument in arguments for option in _options(argument))
    return (annotation,)
