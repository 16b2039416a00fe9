"""The bank in Redis: lends lanes parts of packages, slots and rates; the ledger tells it what is left.

A package is lent while what the ledger has left exceeds what all lanes hold. The order in which usage
passes from a lane's lease into the ledger's balance, so that it is never in neither:

1. the lane counts it      it is `held`, for its record is after the lane's checkpoint
2. a drain commits it      it is still held, and no longer left: braked too early, never too late
3. `tell`                  the bank knows
4. the drain is dropped    the lane is told its checkpoint, and no longer holds it
A crash between any two of them leaves it in both until the next control plane goes on.

`Bank.ask` is a worker's, `tell` the control plane's. Everything may be repeated, lost or late.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from metering.connection import Store, text_of, translated
from metering.lending import (
    PACKAGE_LIFE_MS,
    SETTLE_MS,
    SLOT_LIFE_MS,
    Ask,
    Balance,
    Lent,
    PackageAsk,
    Part,
    RateAsk,
    SlotsAsk,
)
from metering.partitions import lease_key, lending_key, live_key, quota_key, rate_key
from metering.scripts import Scripts

# An account's leases stay that long after the last word, if they hold anything: longer than any outage
# after which somebody may still have to be waited for.
KEPT_MS: Final = 7 * 24 * 3_600_000
_AT_ONCE: Final = 200  # asks, or balances, in one call: bounds how long the script takes


class Spent(NamedTuple):
    """Of a rate: `debt` in units times ms of its period, at `since` (UTC ms); it falls by `units` a ms."""

    debt: int
    since: int


class Bank:
    """All that is ever said to the bank. `now_ms` takes the place of Redis' own time in tests."""

    def __init__(self, store: Store, now_ms: Callable[[], int] | None = None) -> None:
        self._store = store
        self._now_ms = now_ms
        self._scripts = Scripts(store, "lend", "balances", "leased", "spent")
        self._serials: dict[
            int, tuple[str, int]
        ] = {}  # the newest we were told, and in which epoch

    async def ask(  # noqa: PLR0913  (the message as it is)
        self,
        partition: int,
        lane: str,
        epoch: str,
        turn: int,
        asks: Sequence[Ask],
        *,
        whole: bool = False,
        checkpoint: int = 0,
    ) -> list[Lent]:
        """Say what the lane holds and get more; the answers in the order of the asks.

        No account twice in one call. `epoch` is the partition's as the lane knows it, `checkpoint` the
        one it reckons with, `turn` higher than that of any message before. `whole`: these are all
        packages that the lane holds in the partition. Raises MeteringError: then it may have been
        heard or not, and the next message sets it right.
        """
        lent: list[Lent] = []
        parts = [asks[i : i + _AT_ONCE] for i in range(0, len(asks), _AT_ONCE)] or [()]
        for number, some in enumerate(parts, 1):
            serial = self._serial(partition, epoch)
            head = [self._now(), lane, epoch, turn, checkpoint, serial]
            terms = [int(whole and number == len(parts)), PACKAGE_LIFE_MS, SLOT_LIFE_MS]
            arguments = [*head, *terms, SETTLE_MS, KEPT_MS]
            arguments += [argument for ask in some for argument in _arguments(ask)]
            keys = [live_key(partition), quota_key(partition), lending_key(partition)]
            keys += [_key(partition, ask) for ask in some]
            answer = await self._scripts.run("lend", keys, [str(each) for each in arguments])
            self._note(partition, epoch, int(answer[0]))
            lent += [_lent(each) for each in answer[1:]]
        return lent

    async def tell(self, partition: int, epoch: str, balances: Sequence[Balance]) -> bool:
        """What the ledger says; older balances than those there change nothing.

        False when the partition is of another epoch: nothing was taken. Raises MeteringError.
        """
        keys = [live_key(partition), quota_key(partition)]
        for start in range(0, len(balances), _AT_ONCE):
            texts = [
                text
                for each in balances[start : start + _AT_ONCE]
                for text in (each.account, str(each.version), encode(each))
            ]
            if not await self._scripts.run("balances", keys, [epoch, *texts]):
                return False
        return True

    async def balances(self, partition: int, accounts: Sequence[str]) -> list[Balance]:
        """What the bank was told of the accounts; of which nothing, those are left out."""
        if not accounts:
            return []
        with translated():
            raw = await self._store.hmget(quota_key(partition), [f"b:{each}" for each in accounts])
        read = [decode(*pair) for pair in zip(accounts, raw, strict=True)]
        return [balance for balance in read if balance is not None]

    async def all_balances(self, partition: int) -> dict[str, Balance]:
        """What the bank was told of every account of the partition; what is no balance is left out."""
        with translated():
            raw = await self._store.hgetall(quota_key(partition))
        named = {text_of(field)[2:]: value for field, value in raw.items()}
        read = {account: decode(account, value) for account, value in named.items()}
        return {account: balance for account, balance in read.items() if balance is not None}

    async def leased(self, partition: int, names: Sequence[str]) -> list[int]:
        """What all lanes together hold of each account or slots, by their last words."""
        if not names:
            return []
        keys = [lease_key(partition, name) for name in names]
        return [int(each) for each in await self._scripts.run("leased", keys, [])]

    async def spent(self, partition: int, names: Sequence[str]) -> list[Spent]:
        """What is spent of each rate, as it stood when somebody asked for some last."""
        if not names:
            return []
        keys = [rate_key(partition, name) for name in names]
        found = [text_of(each).split() for each in await self._scripts.run("spent", keys, [])]
        return [Spent(*map(int, each)) if len(each) == 2 else Spent(0, 0) for each in found]

    def _now(self) -> str:
        return "" if self._now_ms is None else str(self._now_ms())

    def _serial(self, partition: int, epoch: str) -> int:
        known, serial = self._serials.get(partition, ("", 0))
        return serial if known == epoch else 0

    def _note(self, partition: int, epoch: str, serial: int) -> None:
        if serial > self._serial(partition, epoch):
            self._serials[partition] = (epoch, serial)


def encode(balance: Balance) -> str:
    """As it stands in Redis."""
    parts = [list(part) for part in balance.parts]
    return json.dumps([balance.version, balance.as_of, parts], separators=(",", ":"))


def decode(account: str, raw: bytes | str | None) -> Balance | None:
    """The inverse of `encode`; None for anything else."""
    try:
        version, as_of, parts = json.loads(raw or "")
        read = tuple(Part(str(package), *map(int, numbers)) for package, *numbers in parts)
        return Balance(account, int(version), int(as_of), read)
    except (ValueError, TypeError, RecursionError):
        return None


def _arguments(ask: Ask) -> tuple[str | int, ...]:
    match ask:
        case PackageAsk():
            least = max(ask.least, 1)
            want = max(ask.want, least) if ask.want > 0 else 0
            return ("p", max(ask.held, 0), want, least, ask.account, "")
        case SlotsAsk():
            return ("s", max(ask.held, 0), ask.want, ask.most, "", "")
        case RateAsk():
            return ("r", ask.units, ask.period_ms, ask.burst, ask.owed, ask.want)


def _key(partition: int, ask: Ask) -> str:
    match ask:
        case PackageAsk():
            return lease_key(partition, ask.account)
        case SlotsAsk():
            return lease_key(partition, ask.name)
        case RateAsk():
            return rate_key(partition, ask.name)


def _lent(answer: list[Any]) -> Lent:
    state, granted, left, wanted, retry_ms, life_ms = answer
    return Lent(
        text_of(state),  # type: ignore[arg-type]  # the script says nothing else
        int(granted),
        int(left),
        bool(wanted),
        int(retry_ms),
        int(life_ms),
    )
