"""The nodes of a Redis Cluster: one ordinary client each, and which of them rest.

A node is reached, timed out and given up exactly as a single server. One that failed rests: until
then its commands fail at once, so it holds up nobody who needs another node.
"""

from collections.abc import Callable, Collection, Sequence
from math import inf
from typing import Any, Final, TypeAlias

import anyio
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from metering.redis_urls import Address

Command: TypeAlias = tuple[str | bytes | int, ...]

# How long a node is not asked again. One that is silent has cost a whole time-out.
_SILENT_S: Final = 2.0
_BROKEN_S: Final = 0.5


class NodeAway(RedisConnectionError):
    """One node of the cluster cannot be reached; the others may."""


class Nodes:
    """Clients by address, made when first needed."""

    def __init__(self, client_of: Callable[[Address], Redis]) -> None:
        self._client_of = client_of
        self._clients: dict[Address, Redis] = {}
        self._rests_until: dict[Address, float] = {}

    def client(self, node: Address) -> Redis:
        """The client of the node, whether it rests or not."""
        if node not in self._clients:
            self._clients[node] = self._client_of(node)
        return self._clients[node]

    def failed(self, node: Address | None) -> bool:
        """Did its last command fail, however long ago?"""
        return node in self._rests_until

    def rests(self, node: Address) -> bool:
        """Is it not to be asked now?"""
        return anyio.current_time() < self._rests_until.get(node, -inf)

    async def send(
        self, node: Address, commands: Sequence[Command], *, asking: bool = False
    ) -> Any:
        """The last answer. Raises NodeAway, and what redis raises for a time-out or a refusal."""
        if self.rests(node):
            raise NodeAway(f"{node} of the cluster does not answer")
        client = self.client(node)
        try:
            answer = await send_together(client, commands, asking=asking)
        except RedisTimeoutError:
            self._rest(node, _SILENT_S)
            raise
        except RedisConnectionError as reason:
            self._rest(node, _BROKEN_S)
            raise NodeAway(str(reason)) from reason
        self._rests_until.pop(node, None)
        return answer

    async def close_all_but(self, nodes: Collection[Address]) -> None:
        """Let go of those that are no longer needed."""
        for node in set(self._clients).difference(nodes):
            self._rests_until.pop(node, None)
            await self._clients.pop(node).aclose()

    def _rest(self, node: Address, seconds: float) -> None:
        self._rests_until[node] = anyio.current_time() + seconds


async def send_together(server: Redis, commands: Sequence[Command], *, asking: bool = False) -> Any:
    """Commands on one connection; the last answer. Raises the first refusal.

    ASKING counts for the next command of its connection only.
    """
    if len(commands) == 1 and not asking:
        return await server.execute_command(*commands[0])  # type: ignore[no-untyped-call]  # redis-py's gap
    async with server.pipeline(transaction=False) as line:
        for command in commands:
            if asking:
                line.execute_command("ASKING")
            line.execute_command(*command)
        answers = await line.execute(raise_on_error=False)  # or its text would show the commands
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers[-1]
