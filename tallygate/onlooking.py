"""Who looks on in a gateway worker, as the configuration says: access log on standard error, traces."""

import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from os import getpid
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import to_thread

from gateway.access_log import AccessLog, Line
from gateway.onlooker_settings import TracingSettings
from gateway.onlookers import Onlookers
from gateway.tracing import Tracing
from metering.clock import SystemClock
from tallygate.config_schema import Config, LogSettings
from tallygate.logs import CONTROLS, in_order, is_pretty, renderers, utc
from tallygate.redaction import Redactor

if TYPE_CHECKING:
    from tallygate.otel import SentSpans

LOGGER: Final = "tallygate.access"
_CLOSE_S: Final = 3.0


class Looking:
    """Of one worker, which is named `process` in what is written."""

    def __init__(self, config: Config, process: str) -> None:
        traces, draw, clock = config.tracing, SystemRandom().random, SystemClock()
        self._spans = None if traces.endpoint is None else _spans(traces, process)
        self._write = writer_of(process, config.log)
        self.onlookers = Onlookers(
            AccessLog(config.gateway.access_log, draw, clock.now_ms),
            Tracing(traces, self._spans, draw, time.monotonic) if self._spans else None,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What they are told is written and sent, the last of it when the block has ended."""
        try:
            async with self.onlookers.access.running(self._write):
                yield
        finally:
            if self._spans is not None:
                with anyio.move_on_after(_CLOSE_S, shield=True):
                    await to_thread.run_sync(self._spans.close, abandon_on_cancel=True)


def _spans(settings: TracingSettings, process: str) -> "SentSpans":
    from tallygate.otel import SentSpans  # noqa: PLC0415  (an extra, of which the check has told)

    return SentSpans(settings, process)


def writer_of(process: str, settings: LogSettings) -> Callable[[Sequence[Line]], None]:
    """Writes lines between those of the log, in its form; fit for a thread."""
    line_of = _pretty(process) if is_pretty(settings) else _json(process)
    redactor = Redactor()

    def write(lines: Sequence[Line]) -> None:
        shown = []
        for line in lines:
            fields = {name: _text(each) for name, each in line.fields().items()}
            if "path" in fields:
                fields["path"] = redactor.text(fields["path"])
            shown.append(line_of(line.time_ms, fields))
        sys.stderr.write("".join(f"{each}\n" for each in shown))
        sys.stderr.flush()

    return write


def _text(value: Any) -> Any:
    return value.translate(CONTROLS) if isinstance(value, str) else value


def _event(process: str, time_ms: int, fields: dict[str, Any]) -> dict[str, Any]:
    said = {"time": utc(time_ms / 1000), "level": "info", "event": "call", "logger": LOGGER}
    return in_order({**said, "process": process, "pid": getpid(), **fields})


def _json(process: str) -> Callable[[int, dict[str, Any]], str]:
    encode = json.JSONEncoder(ensure_ascii=False).encode
    return lambda time_ms, fields: encode(_event(process, time_ms, fields))


def _pretty(process: str) -> Callable[[int, dict[str, Any]], str]:
    steps = renderers(pretty=True)
    log = logging.getLogger(LOGGER)

    def line(time_ms: int, fields: dict[str, Any]) -> str:
        event: Any = _event(process, time_ms, fields)
        for step in steps:
            event = step(log, "info", event)
        return str(event)

    return line
