"""How every process writes its log: one event a line on standard error, JSON or for people.

Loggers are the standard library's, those of libraries too; structlog makes the lines. What an event
concerns stands in its fields: `request_id` comes from the context where there is one (structlog's
contextvars), or with the call as `extra`.
"""

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from pydantic import BaseModel, SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from tallygate.config_schema import Config, LogSettings
from tallygate.listeners import QuietUvicorn
from tallygate.redaction import Redactor

OURS: Final = ("tallygate", "gateway", "billing_sync", "metering")
# A line end or a terminal's escape in what a stranger said must not make, or hide, a line.
_UNPRINTABLE: Final = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
}
# JSON and stack traces take care of line ends themselves.
CONTROLS: Final = {code: text for code, text in _UNPRINTABLE.items() if code not in {9, 10}}
_FIRST: Final = ("time", "level", "event", "logger", "process", "pid")


class Output(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Standard error."""
        return sys.stderr


def set_up_logging(
    process: str, settings: LogSettings | None = None, secrets: Iterable[str] = ()
) -> None:
    """Warnings of everybody and our own notices on standard error, in the name of `process`.

    Again with other settings: those count. Where somebody else has set the root logger up, its
    handlers stay as they are.
    """
    settings = settings or LogSettings()
    root = logging.getLogger()
    found = next((each for each in root.handlers if isinstance(each, Output)), None)
    if found is None and not root.handlers:
        found = Output()
        root.addHandler(found)
        logging.captureWarnings(capture=True)
    if found is not None:
        found.setFormatter(formatter(process, settings, Redactor(secrets)))
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    # Requests that libraries tell of at lower levels hold heads and URLs.
    root.setLevel(max(level, logging.WARNING))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    uvicorn = logging.getLogger("uvicorn.error")
    if not any(isinstance(each, QuietUvicorn) for each in uvicorn.filters):
        uvicorn.addFilter(QuietUvicorn())


def is_pretty(settings: LogSettings) -> bool:
    """Whether lines are for people: where a terminal is looked at, if nothing else is said."""
    return settings.format == "pretty" or (settings.format == "auto" and sys.stderr.isatty())


def formatter(process: str, settings: LogSettings, redactor: Redactor) -> logging.Formatter:
    """What makes a line of a record."""
    named = {"process": process}
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.stdlib.ExtraAdder()],
        processors=[
            _Facts(named),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _Safely(redactor),
            *renderers(pretty=is_pretty(settings)),
        ],
    )


def renderers(*, pretty: bool) -> Sequence[Processor]:
    """What makes a line of an event's fields."""
    if not pretty:
        return [structlog.processors.JSONRenderer(ensure_ascii=False, sort_keys=False)]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        timestamp_key="time",
        pad_event_to=0,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [_on_one_line, console]


def in_order(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields everybody looks for first."""
    front = {name: fields[name] for name in _FIRST if name in fields}
    return {**front, **fields}


def utc(seconds: float) -> str:
    """A moment as logs write it: UTC, with milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def secrets_of(config: Config) -> list[str]:
    """The secrets of the configuration itself; keys of customers have a form that is known."""
    return [text for name in type(config).model_fields if name != "customers"
            for text in _secrets_in(getattr(config, name))]  # fmt: skip


def _secrets_in(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _secrets_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _secrets_in(each)


class _Facts:
    """Adds when, how bad, who."""

    def __init__(self, named: Mapping[str, str]) -> None:
        self._named = named

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event["_record"]
        said = {
            "time": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._named,
            "pid": record.process,
        }
        return in_order({**event, **said})


class _Safely:
    """Takes secrets, and what is no text, out of every field."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        value = self._redactor.value
        return {name: _translated(value(name, each), CONTROLS) for name, each in event.items()}


def _on_one_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """All but a stack trace, which is read as it stands."""
    return {
        name: each if name == "exception" else _translated(each, _UNPRINTABLE)
        for name, each in event.items()
    }


def _translated(value: Any, table: Mapping[int, str]) -> Any:
    return value.translate(table) if isinstance(value, str) else value
