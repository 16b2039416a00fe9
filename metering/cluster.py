"""A Redis Cluster: each command goes to the node that holds its key, and follows it when it moves.

Redirections are followed; nothing else is ever sent again. Commands for a node that failed fail at
once for a while, and who holds its slots is asked anew. redis-py's own cluster client is not used:
it sends ASKING on a connection and the command on another one, and after every failed call it reads
the table of all commands again, 40 ms of an event loop that has calls to proxy.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, Final

import anyio
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from metering.errors import StoreUnsuitable
from metering.nodes import Command, Nodes
from metering.redis_urls import Address
from metering.slots import SlotMap, read_slots, redirected

_REDIRECTIONS: Final = 5  # to a node that is importing the slot and back is two
_REFRESH_S: Final = 0.5  # the map is asked for no more often


class Cluster:
    """What Tallygate does in Redis, on a cluster. Commands as those of redis.asyncio.Redis.

    Raises what redis raises, and NodeAway. `find_s` bounds the search for a node that answers.
    """

    def __init__(
        self, nodes: Iterable[Address], client_of: Callable[[Address], Redis], *, find_s: float
    ) -> None:
        self._known = tuple(nodes)
        self._nodes = Nodes(client_of)
        self._find_s = find_s
        self._slots = SlotMap()
        self._doubtful = True  # the map
        self._asked_at = -inf
        self._asking = anyio.Lock()
        self._turn = 0

    async def eval(self, script: str, numkeys: int, key: str, *rest: str | bytes) -> Any:
        return await self._on_key(key, ("EVAL", script, numkeys, key, *rest))

    async def evalsha(self, sha: str, numkeys: int, key: str, *rest: str | bytes) -> Any:
        return await self._on_key(key, ("EVALSHA", sha, numkeys, key, *rest))

    async def hset(self, name: str, key: str, value: str) -> Any:
        return await self._on_key(name, ("HSET", name, key, value))

    async def hget(self, name: str, key: str) -> Any:
        return await self._on_key(name, ("HGET", name, key))

    async def hmget(self, name: str, keys: list[str]) -> Any:
        return await self._on_key(name, ("HMGET", name, *keys))

    async def hgetall(self, name: str) -> Any:
        return await self._on_key(name, ("HGETALL", name))

    async def hscan(self, name: str, cursor: int, *, count: int) -> Any:
        return await self._on_key(name, ("HSCAN", name, cursor, "COUNT", count))

    async def hdel(self, name: str, *keys: str) -> Any:
        return await self._on_key(name, ("HDEL", name, *keys))

    async def together(self, key: str, commands: Sequence[Command]) -> None:
        """Several commands in one go, to the node that holds the key.

        When it has moved, all of them are sent again to where it is: they must bear that.
        """
        await self._on_key(key, *commands)

    async def masters(self) -> Mapping[Address, Redis]:
        """A client of each node that holds slots."""
        return {node: self._nodes.client(node) for node in (await self._found()).masters}

    async def replicas(self) -> Mapping[Address, Redis]:
        """A client of each node that stands by."""
        return {node: self._nodes.client(node) for node in (await self._found()).replicas}

    async def any_node(self) -> Redis:
        """A client of some master, another one each time: what is published reaches all of them."""
        found = (await self._found()).masters
        masters = [node for node in found if not self._nodes.rests(node)] or found
        self._turn += 1
        return self._nodes.client(masters[self._turn % len(masters)])

    async def aclose(self) -> None:
        """Close every connection."""
        await self._nodes.close_all_but(())

    async def _on_key(self, key: str, *commands: Command) -> Any:
        slot = key_slot(key.encode())
        node, asking = await self._owner(slot), False
        for _ in range(_REDIRECTIONS):
            try:
                return await self._nodes.send(node, commands, asking=asking)
            except MovedError as moved:
                node, asking = redirected(moved.host, moved.port, node), False
                self._slots.move(slot, node)
            except AskError as ask:  # this once; the slot is not there yet
                node, asking = redirected(ask.host, ask.port, node), True
            except ClusterDownError:
                self._doubtful = True  # somebody else may be about to take over
                raise
        raise ClusterError(f"slot {slot} is sent from node to node")

    async def _owner(self, slot: int) -> Address:
        """Who holds the slot. A node that failed may have been replaced meanwhile."""
        if self._doubtful or self._nodes.failed(self._slots.owner(slot)):
            await self._refresh()
        node = self._slots.owner(slot)
        if node is None:
            self._doubtful = True
            raise RedisConnectionError(f"no node of the cluster is known to hold slot {slot}")
        return node

    async def _found(self) -> SlotMap:
        if self._doubtful:
            await self._refresh()
        if not self._slots.masters:
            raise RedisConnectionError("no node of the cluster answers")
        return self._slots

    async def _refresh(self) -> None:
        """Ask who holds what, the first node that answers, unless that was done a moment ago."""
        async with self._asking:
            if anyio.current_time() - self._asked_at < _REFRESH_S:
                return
            try:
                with anyio.fail_after(self._find_s):
                    self._slots = await self._ask_for_slots()
                self._doubtful = False
            except TimeoutError as reason:
                raise RedisConnectionError("no node of the cluster answers in time") from reason
            finally:
                self._asked_at = anyio.current_time()

    async def _ask_for_slots(self) -> SlotMap:
        reasons = []
        for node in dict.fromkeys([*self._slots.masters, *self._known]):
            try:
                reply = await self._nodes.send(node, [("CLUSTER SLOTS",)])
            except (RedisConnectionError, RedisTimeoutError) as reason:
                reasons.append(str(reason))
            except ResponseError as refusal:
                if "cluster support disabled" not in str(refusal):
                    raise
                raise StoreUnsuitable(
                    f"the Redis at {node} is no cluster; write redis://{node}"
                ) from refusal
            else:
                found = read_slots(reply, node)
                await self._nodes.close_all_but({*found.masters, *found.replicas, *self._known})
                return found
        raise RedisConnectionError(f"no node of the cluster answers: {'; '.join(reasons)}")
