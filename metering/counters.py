"""The counters in Redis: exactly two hashes per partition, `live` and `drain`.

Each call is one Lua script and idempotent: applied, it is not applied again; lost, it can be sent
again; late, it is harmless. The protocol is described in docs/architecture.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metering import deltas
from metering.connection import Store
from metering.lending import NOBODY, Settling
from metering.partitions import drain_key, lending_key, live_key, quota_key
from metering.protocol import ApplyReply, Batch, Content, Head
from metering.scripts import Call, Scripts


class Counters:
    """All that is ever done to the counters."""

    def __init__(self, store: Store) -> None:
        self._scripts = Scripts(store, "apply", "head", "set_aside", "drop_drain", "reset", "read")

    async def apply(self, batch: Batch) -> ApplyReply:
        """Count the batch once. Raises MeteringUnavailable or WriteUnknown; then send it again."""
        return _reply(await self._run("apply", *_apply(batch)))

    async def apply_each(self, batches: Sequence[Batch]) -> list[ApplyReply]:
        """The same of several partitions in one go: their replies, in order.

        None where that cannot be (see Scripts.run_each); then apply them one by one, though some
        may be counted.
        """
        answers = await self._scripts.run_each("apply", [_apply(each) for each in batches])
        return [_reply(answer) for answer in answers]

    async def head(self, partition: int) -> Head:
        """The lineage of a partition."""
        return _head(await self._run("head", _keys(partition), []))

    async def heads(self, partitions: Sequence[int]) -> dict[int, Head]:
        """The same of several in one go; of none where that cannot be (see Scripts.run_each)."""
        answers = await self._scripts.run_each("head", [(_keys(each), ()) for each in partitions])
        return {each: _head(answer) for each, answer in zip(partitions, answers, strict=False)}

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
        self,
        partition: int,
        *,
        epoch: str,
        last: str,
        checkpoints: Mapping[str, int],
        settling: Settling = NOBODY,
    ) -> None:
        """Start again from the ledger's checkpoints under a new epoch.

        What it lent is forgotten: nothing more is, before those named in `settling` have said what
        they hold.
        """
        keys = [*_keys(partition), quota_key(partition), lending_key(partition)]
        lanes = sorted(settling.lanes)
        waits = [str(settling.now or ""), str(settling.most), str(settling.least), str(len(lanes))]
        await self._run("reset", keys, [epoch, last, *waits, *lanes, *_flat(checkpoints.items())])

    async def _run(self, name: str, keys: list[str], arguments: Sequence[str | bytes]) -> Any:
        return await self._scripts.run(name, keys, arguments)


def _apply(batch: Batch) -> Call:
    head = (batch.epoch, batch.lane, str(batch.start), str(batch.end))
    # One argument: the client packs each by itself, which would cost more than all the rest.
    return [live_key(batch.partition)], [*head, deltas.pack(batch.deltas)]


def _reply(answer: list[bytes]) -> ApplyReply:
    status, epoch, position, checkpoint = answer
    return ApplyReply(_text(status), _text(epoch), int(position), int(checkpoint))  # type: ignore[arg-type]


def _head(answer: list[bytes]) -> Head:
    fields = [_text(part) for part in answer]
    return Head(fields[0], fields[1], fields[2], bool(fields[3]), *fields[4:])


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
