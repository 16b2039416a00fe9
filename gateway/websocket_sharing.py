"""What the WebSockets of a worker share, and what each has of its client."""

import asyncio
from dataclasses import dataclass, field

from starlette.types import Receive, Send

from gateway.gate import Gate
from gateway.settings import WebSocketSettings
from gateway.websocket_upstream import UpstreamSockets
from gateway.workings import OpenCall, Workings


@dataclass(frozen=True, slots=True)
class Sockets:
    """What the WebSockets of a worker share. `drain_s`: how long they may go on when it stops."""

    gate: Gate
    workings: Workings
    upstreams: UpstreamSockets
    settings: WebSocketSettings
    drain_s: float
    relays: set[OpenCall] = field(default_factory=set)  # that are open


@dataclass(frozen=True, slots=True)
class Client:
    """The client's side: ASGI's channels, and the news that the worker stops."""

    receive: Receive
    send: Send
    stopping: asyncio.Event
