"""The counters in Redis: exactly two hashes per partition, `live` and `drain`.

Each call is one Lua script and idempotent: applied, it is not applied again; lost, it can be sent
again; late, it is harmless. The protocol is described in docs/architecture.md.
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError

from metering import deltas
from metering.connection import Store, translated
from metering.partitions import drain_key, live_key
from metering.protocol import ApplyReply, Batch, Content, Head


class Counters:
    """All that is ever done to the counters."""

    def __init__(self, store: Store) -> None:
        self._store = store
        folder = resources.files("metering") / "lua"
        names = ("apply", "head", "set_aside", "drop_drain", "reset", "read")
        self._source = {name: (folder / f"{name}.lua").read_text() for name in names}
        self._sha: dict[str, str] = {}

    async def apply(self, batch: Batch) -> ApplyReply:
        """Count the batch once. Raises MeteringUnavailable or WriteUnknown; then send it again."""
        head = [batch.epoch, batch.lane, str(batch.start), str(batch.end)]
        # One argument: the client packs each by itself, which would cost more than all the rest.
        status, epoch, position, checkpoint = await self._run(
            "apply", [live_key(batch.partition)], [*head, deltas.encode_all(batch.deltas)]
        )
        return ApplyReply(_text(status), _text(epoch), int(position), int(checkpoint))  # type: ignore[arg-type]

    async def head(self, partition: int) -> Head:
        """The lineage of a partition."""
        fields = [_text(part) for part in await self._run("head", _keys(partition), [])]
        return Head(fields[0], fields[1], fields[2], bool(fields[3]), *fields[4:])

    async def set_aside(self, partition: int, *, epoch: str, last: str, new_id: str) -> bool:
        """Turn live into drain under `new_id`. False when another control plane was quicker."""
        return bool(await self._run("set_aside", _keys(partition), [epoch, last, new_id]))

    async def read(self, partition: int) -> tuple[Content | None, Content | None]:
        """Live and drain at one instant; None for a hash that is not there."""
        live, drain = await self._run("read", _keys(partition), [])
        return _content(live), _content(drain)

    async def drop_drain(
        self, partition: int, *, drain_id: str, epoch: str, checkpoints: Mapping[str, int]
    ) -> bool:
        """Delete the set-aside that the ledger has committed. False when it is another one."""
        arguments = [drain_id, epoch, *_flat(checkpoints.items())]
        return bool(await self._run("drop_drain", _keys(partition), arguments))

    async def reset(
        self, partition: int, *, epoch: str, last: str, checkpoints: Mapping[str, int]
    ) -> None:
        """Start again from the ledger's checkpoints under a new epoch."""
        await self._run("reset", _keys(partition), [epoch, last, *_flat(checkpoints.items())])

    async def _run(self, name: str, keys: list[str], arguments: list[str]) -> Any:
        # EVALSHA first, EVAL where the server does not know the script: SCRIPT LOAD is forbidden at
        # some managed services, and each node of a cluster learns the script at its first call.
        with translated():
            sha = self._sha.get(name)
            if sha is not None:
                try:
                    return await self._store.evalsha(sha, len(keys), *keys, *arguments)
                except NoScriptError:
                    pass
            answer = await self._store.eval(self._source[name], len(keys), *keys, *arguments)
            self._sha[name] = _sha1(self._source[name])
            return answer


def _sha1(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def _keys(partition: int) -> list[str]:
    return [live_key(partition), drain_key(partition)]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _flat(pairs: Iterable[tuple[str, int]]) -> list[str]:
    return [text for lane, position in pairs for text in (lane, str(position))]


def _content(raw: list[bytes]) -> Content | None:
    if not raw:
        return None
    fields = {_text(raw[i]): _text(raw[i + 1]) for i in range(0, len(raw), 2)}
    return Content(
        epoch=fields.get("epoch", ""),
        last=fields.get("last", ""),
        id=fields.get("id", ""),
        positions={f[2:]: int(v) for f, v in fields.items() if f.startswith("p:")},
        deltas={deltas.decode(f): int(v) for f, v in fields.items() if f.startswith(deltas.PREFIX)},
        committed=fields.get("committed", ""),
    )
