"""The customers of the demo: real HTTP calls, and their own count of what they used.

Nothing is taken from the gateway's word. Tokens in are the words they sent, tokens out the words
(or stream deltas) they got back.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx

from tallygate.demo.shop import Buyer

_WORKERS_EACH: Final = 4
_WORDS: Final = ("tell", "me", "how", "much", "this", "will", "cost", "please")


@dataclass
class Counted:
    """What the customers counted themselves."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class Traffic:
    """Sends calls as the buyers, JSON and SSE in turn, until told that it is enough."""

    def __init__(self, gateway_url: str, buyers: Sequence[Buyer]) -> None:
        self._url = f"{gateway_url}/v1/chat/completions"
        self._buyers = buyers
        self._sent = 0
        self.counted = Counted()

    async def send(self, enough: Callable[[int], bool], progress: Callable[[int], None]) -> None:
        """Send calls until `enough(sent)`. Raises httpx.HTTPError for a call that fails."""

        async def customer(buyer: Buyer, http: httpx.AsyncClient) -> None:
            while not enough(self._sent):
                number = self._sent
                self._sent += 1
                await self._call(http, buyer, number)
                progress(self.counted.requests)

        async with (
            httpx.AsyncClient(timeout=30, trust_env=False) as http,
            anyio.create_task_group() as group,
        ):
            for buyer in self._buyers:
                for _ in range(_WORKERS_EACH):
                    group.start_soon(customer, buyer, http)

    async def _call(self, http: httpx.AsyncClient, buyer: Buyer, number: int) -> None:
        words = 1 + number % len(_WORDS)
        request: dict[str, Any] = {
            "model": "demo",
            "messages": [{"role": "user", "content": " ".join(_WORDS[:words])}],
            "max_tokens": 1 + number % 24,
        }
        if number % 2:
            tokens_out = await self._stream(http, buyer, request, asks_usage=number % 4 == 1)
        else:
            reply = await http.post(self._url, json=request, headers=_key(buyer))
            reply.raise_for_status()
            tokens_out = len(reply.json()["choices"][0]["message"]["content"].split())
        self.counted.requests += 1
        self.counted.tokens_in += words
        self.counted.tokens_out += tokens_out

    async def _stream(
        self, http: httpx.AsyncClient, buyer: Buyer, request: dict[str, Any], *, asks_usage: bool
    ) -> int:
        request = {**request, "stream": True}
        if asks_usage:
            request["stream_options"] = {"include_usage": True}
        deltas = 0
        async with http.stream("POST", self._url, json=request, headers=_key(buyer)) as reply:
            reply.raise_for_status()
            async for line in reply.aiter_lines():
                deltas += _has_word(line)
        return deltas


def _has_word(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    choices = json.loads(line.removeprefix("data: "))["choices"]
    return bool(choices and choices[0]["delta"].get("content"))


def _key(buyer: Buyer) -> dict[str, str]:
    return {"Authorization": f"Bearer {buyer.key}"}
