"""The situations that proxies are compared in, and the calls that are made in them. Pure."""

import json
from dataclasses import dataclass
from typing import Final, Literal

PATH: Final = "/v1/chat/completions"
EVENTS: Final = 64
REPLY_BYTES: Final = 293
STREAMS: Final = 500

Answering = Literal["json", "unique", "read", "sse", "idle"]  # what the origin does
Kind = Literal["flood", "idle", "half"]


@dataclass(frozen=True)
class Scenario:
    """One situation. `per_reply` is how many units a reply is: 1, or the events of a stream."""

    name: str
    title: str
    answering: Answering = "json"
    kind: Kind = "flood"
    connections: int = 64
    unit: str = "requests/s"
    per_reply: int = 1
    customers: int = 1
    body_bytes: int = 200
    distinct_heads: bool = False
    close: bool = False
    against: str = ""  # another scenario that is run in the same turns, to be compared with


SCENARIOS: Final = (
    Scenario("json", "JSON: chat completions on 64 connections"),
    Scenario(
        "sse",
        f"SSE: {STREAMS} concurrent streams of {EVENTS} events",
        answering="sse",
        connections=STREAMS,
        unit="events/s",
        per_reply=EVENTS,
    ),
    Scenario("post16k", "POST: bodies of 16 KiB", answering="read", body_bytes=16384),
    Scenario(
        "customers", "Customers: 10,000 in place of 1", customers=10_000, against="one_customer"
    ),
    Scenario(
        "unique",
        "Unique heads: each request and each reply carries a header never seen before",
        answering="unique",
        distinct_heads=True,
    ),
    Scenario("churn", "Churn: a new connection for each request", close=True),
    Scenario("idle", f"Idle: {STREAMS} open streams", answering="idle", kind="idle"),
    Scenario("half", "Half load: latency added at half of the proxy's own maximum", kind="half"),
)

# The same generator, the same calls: only the number of customers differs.
ONE_CUSTOMER: Final = Scenario("one_customer", "Customers: 1")


class UnknownName(Exception):
    """No scenario or peer is called that."""


def named(names: list[str]) -> list[Scenario]:
    """The scenarios of these names, all without any. Raises UnknownName."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    if unknown := [name for name in names if name not in known]:
        raise UnknownName(f"no scenario is called {unknown[0]}; there are {', '.join(known)}")
    return [scenario for scenario in SCENARIOS if not names or scenario.name in names]


def customers(count: int) -> list[tuple[str, str]]:
    """Ids and keys, short: 10,000 of them must fit a tallygate.yaml, which is bounded."""
    return [(f"c{n}", f"sk-{n:06d}") for n in range(1, count + 1)]


def call_body(scenario: Scenario) -> bytes:
    """The JSON of a call, filled up to the scenario's size."""
    missing = scenario.body_bytes - len(_call(scenario, ""))
    return _call(scenario, "x" * max(missing, 1))


def _call(scenario: Scenario, text: str) -> bytes:
    call: dict[str, object] = {"model": "demo", "messages": [{"role": "user", "content": text}]}
    if scenario.answering in ("sse", "idle"):
        call |= {"stream": True, "stream_options": {"include_usage": True}}
    return _compact(call)


def reply_body() -> bytes:
    """A chat completion of 293 bytes that says what it used."""
    return _completion("x" * (REPLY_BYTES - len(_completion(""))))


def _completion(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": 16, "total_tokens": 28}
    head = {"id": "chatcmpl-0000", "object": "chat.completion", "created": 1760000000}
    return _compact(head | {"model": "demo", "choices": [choice], "usage": usage})


def events() -> list[bytes]:
    """The events of a stream as they go over the wire; the last says what was used, and [DONE]."""
    choice = {"index": 0, "delta": {"content": " tally"}, "finish_reason": None}
    usage = {"prompt_tokens": 12, "completion_tokens": EVENTS - 1, "total_tokens": EVENTS + 11}
    head = {"id": "chatcmpl-0000", "object": "chat.completion.chunk", "created": 1760000000}
    piece = b"data: " + _compact(head | {"model": "demo", "choices": [choice]}) + b"\n\n"
    last = b"data: " + _compact(head | {"model": "demo", "choices": [], "usage": usage}) + b"\n\n"
    return [piece] * (EVENTS - 1) + [last + b"data: [DONE]\n\n"]


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
