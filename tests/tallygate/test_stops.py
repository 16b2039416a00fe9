"""How a gateway worker stops, as a process on real sockets."""

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.installations import (
    CHAT,
    KEY,
    Served,
    configuration,
    eventually,
    tallygate,
    valkey_on_tcp,
    write,
)
from tests.servers import Received, upstream

BODY = json.dumps({"model": "m", "messages": []}).encode()
HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
USAGE = b'{"usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}}'


class Slow:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Received] = []

    def __call__(self, request: Received) -> None:
        self.asked.append(request)
        eventually(lambda: request.closed or self.answered(request))

    def answered(self, request: Received) -> bool:
        return getattr(request, "done", False)
