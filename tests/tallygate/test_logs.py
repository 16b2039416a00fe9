import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars

from tallygate.config import parse
from tallygate.config_schema import LogSettings
from tallygate.logs import formatter, in_order, secrets_of, set_up_logging
from tallygate.redaction import HIDDEN, Redactor
from tests.tallygate.logging_anew import fresh_logging

JSON = LogSettings(format="json")
PRETTY = LogSettings(format="pretty")


Said = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.fixture
def set_up() -> Iterator[Callable[..., None]]:
    """set_up_logging in a process of its own: only in the test itself does pytest listen too."""
    with ExitStack() as stack:

        def anew(*arguments: Any) -> None:
            stack.enter_context(fresh_logging())
            set_up_logging(*arguments)

        yield anew


SetUp = Callable[..., None]


def test_a_line_says_when_how_bad_what_and_who(said: Said, set_up: SetUp) -> None:
    """JSON where nobody looks at a terminal; the time is UTC."""
    set_up("gateway-1")
    logging.getLogger("tallygate.serve").info("%s ended", "control")
    (event,) = said()
    assert list(event) == ["time", "level", "event", "logger", "process", "pid"]
    assert event["event"] == "control ended"
    assert (event["level"], event["logger"]) == ("info", "tallygate.serve")
    assert event["process"] == "gateway-1"
    assert event["time"].endswith("Z")
    assert datetime.fromisoformat(event["time"]).utcoffset() == timedelta(0)


def test_the_log_is_quiet_about_others(said: Said, set_up: SetUp) -> None:
    """Our notices and everybody's warnings are shown; requests that libraries tell of are not."""
    set_up("serve", LogSettings(level="debug"))
    logging.getLogger("billing_sync.callbacks").info("ours")
    logging.getLogger("gateway.relay").debug("ours too")
    logging.getLogger("httpx").info("GET https://example.com?key=secret")
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.info("Started server process")
    uvicorn.error("ASGI callable returned without completing response.")
    uvicorn.error("something else")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    events = [event["event"] for event in said()]
    assert events[:3] == ["ours", "ours too", "something else"]
    assert [("DeprecationWarning: old" in each) for each in events[3:]] == [True]


def test_levels(said: Said, set_up: SetUp) -> None:
    """From the one that is set; those of libraries never below warning."""
    set_up("serve", LogSettings(level="error"))
    logging.getLogger("tallygate").warning("ours")
    logging.getLogger("asyncio").warning("theirs")
    logging.getLogger("asyncio").error("bad")
    assert [event["event"] for event in said()] == ["bad"]


def test_setting_it_up_again_replaces_it(said: Said, set_up: SetUp) -> None:
    """No line is written twice."""
    set_up("tallygate")
    set_up_logging("gateway", JSON)
    logging.getLogger("tallygate").warning("once")
    assert [(event["event"], event["process"]) for event in said()] == [("once", "gateway")]


def test_a_request_is_named(said: Said, set_up: SetUp) -> None:
    """By the context it runs in, or by whoever logs without one."""
    set_up("gateway")
    with bound_contextvars(request_id="r-1"):
        logging.getLogger("asyncio").warning("inside")
    logging.getLogger("gateway").warning("outside", extra={"request_id": "r-2"})
    logging.getLogger("gateway").warning("none")
    assert [event.get("request_id") for event in said()] == ["r-1", "r-2", None]


def test_an_exception_is_part_of_its_line(said: Said, set_up: SetUp) -> None:
    """The whole trace, with what it names of secrets hidden."""
    set_up("gateway", JSON, ["hunter22"])
    try:
        json.loads("Authorization: Bearer abcdefghijkl, password hunter22")
    except ValueError as error:
        error.add_note("Authorization: Bearer abcdefghijkl, password hunter22")
        logging.getLogger("gateway").exception("it failed")
    (event,) = said()
    assert event["event"] == "it failed"
    assert event["exception"].startswith("Traceback (most recent call last):\n")
    assert event["exception"].endswith(f"Bearer {HIDDEN}, password {HIDDEN}")


def test_no_secret_is_logged(said: Said, set_up: SetUp) -> None:
    """Keys, tokens, signatures: in the text, its arguments, or a field."""
    set_up("control", JSON, ["my-secret"])
    log = logging.getLogger("tallygate")
    log.warning("%s", {"Authorization": "Bearer sk-0123456789abcdefgh"})
    log.warning("my-secret", extra={"signature": "c2lnbmF0dXJl", "url": "redis://:pass@host/0"})
    text = json.dumps(said())
    for secret in ("sk-0123", "my-secret", "c2lnbmF0", ":pass@"):
        assert secret not in text


def test_people_get_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Without braces, with the same fields."""
    with fresh_logging():
        set_up_logging("gateway-1", PRETTY)
        logging.getLogger("gateway").warning("away", extra={"request_id": "r-1"})
    (line,) = capsys.readouterr().err.splitlines()
    for part in ("[warning", "away", "process=gateway-1", "request_id=r-1"):
        assert part in line


@given(st.text(max_size=60), st.sampled_from([JSON, PRETTY]))
def test_one_event_is_one_line(text: str, settings: LogSettings) -> None:
    """Whatever a stranger had us log, he can neither forge a line nor paint the terminal."""
    record = logging.LogRecord("gateway", 30, "x.py", 1, "%s", (text,), None)
    line = formatter("gateway", settings, Redactor()).format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "\x9b" not in line


def test_secrets_of_the_configuration(tmp_path: Path) -> None:
    """All of them, however deep; not the thousands of keys of customers."""
    text = """
secret_key: one-secret
control: {admin_token: two-secret}
koogallery: {access_key: three-secret, agent_apps: [{app_key: a, app_secret: four-secret}]}
customers: [{id: c, keys: [five-secret]}]
"""
    found = secrets_of(parse(text, {}, base=tmp_path))
    wanted = {"one-secret", "two-secret", "three-secret", "four-secret"}
    assert wanted <= set(found)
    assert "five-secret" not in found


def test_fields_are_in_order() -> None:
    """What everybody looks for stands first."""
    assert list(in_order({"x": 1, "event": 2, "time": 3})) == ["time", "event", "x"]
