"""Findings: what could not be counted for certain, named and on its way through Redis to the ledger.

One hash holds them: identity → JSON while a finding waits, an empty value once the ledger has it.
Redis may lose all of it at any time: whoever found something asks again what is `untaken`, and the
ledger takes each identity once. The way of a finding, and what a kill after each step leaves:

1. published       it waits
2. in the ledger   it is read again, and the ledger knows it
3. taken           done; publishing it again changes nothing
4. dropped         nobody will ask for it any more
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from metering.connection import Store, text_of, translated

KEY: Final = "tallygate:findings"
MOST_WAITING: Final = 1000  # read in one run of the control plane; the next run reads on
_MOST_BYTES: Final = 8192  # of one finding; ids are bounded far below
_AT_ONCE: Final = 500  # identities in one call

# Never over what is there: what waits waits, and what the ledger has it has.
_PUBLISH: Final = """
for i = 1, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
"""
_TAKEN: Final = """
for i = 1, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], '') end
return 1
"""
_UNTAKEN: Final = """
local found = {}
for i = 1, #ARGV do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= '' then found[#found + 1] = ARGV[i] end
end
return found
"""
# One page of the hash; what is taken already stays behind. ARGV 1 cursor, 2 page, 3 most bytes.
# What is longer than that is answered as '!': no finding of ours is.
_WAITING: Final = """
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = {page[1]}
for i = 1, #page[2], 2 do
  local text = page[2][i + 1]
  if #text > tonumber(ARGV[3]) then text = '!' end
  if text ~= '' then found[#found + 1] = text end
end
return found
"""
_UNTAKE: Final = """
for i = 1, #ARGV do
  if redis.call('HGET', KEYS[1], ARGV[i]) == '' then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1
"""


Number = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]  # what a column of the ledger takes


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that no count can explain. Times are UTC ms; `first` and `last` record numbers.

    uncertain    an open request of a process that died: nobody knows how it ended
    unexplained  records that were counted and that their lane lost
    lost_lane    a lane, or a part of it, that is gone; `detail` says how far the ledger holds it
    """

    kind: Literal["uncertain", "unexplained", "lost_lane"]
    lane: str
    host: str
    at: Number
    request_id: str = ""
    customer_id: str = ""
    route: str = ""
    started: Number = 0
    partition: Number = -1
    first: Number = 0
    last: Number = 0
    detail: str = ""

    @property
    def identity(self) -> str:
        """What makes two findings the same one, whoever found it and when."""
        numbers = (self.partition, self.first, self.last, self.started)
        # The request's id comes last: only it is somebody else's text.
        return ":".join([self.kind, self.lane, *map(str, numbers), self.request_id])


class Waiting(NamedTuple):
    """Findings on their way, and how many values could not be read."""

    findings: list[Finding]
    unreadable: int


async def publish(store: Store, found: Iterable[Finding]) -> None:
    """Put findings on their way. Raises MeteringError; then publish them again."""
    for some in _parts([pair for each in found for pair in _pair(each)], 2 * _AT_ONCE):
        with translated():
            await store.eval(_PUBLISH, 1, KEY, *some)


async def waiting(store: Store) -> list[Finding]:
    """Findings the ledger lacks, at most MOST_WAITING; what cannot be read is passed over."""
    return (await read(store)).findings


async def read(store: Store) -> Waiting:
    """The same, and how many values could not be read. Raises MeteringError."""
    found: list[Finding] = []
    unreadable = 0
    cursor = "0"
    while True:
        with translated():
            page = await store.eval(_WAITING, 1, KEY, cursor, str(_AT_ONCE), str(_MOST_BYTES))
        for text in page[1:]:
            finding = _decode(text)
            if finding is None:
                unreadable += 1
            elif len(found) < MOST_WAITING:
                found.append(finding)
        cursor = text_of(page[0])
        if cursor == "0" or len(found) >= MOST_WAITING:
            return Waiting(_once(found), unreadable)


async def taken(store: Store, identities: Iterable[str]) -> None:
    """The ledger has them."""
    await _each(store, _TAKEN, identities)


async def untaken(store: Store, identities: Iterable[str]) -> set[str]:
    """Those of the given identities that the ledger is not known to have: publish them again."""
    missing: set[str] = set()
    for some in _parts(list(identities), _AT_ONCE):
        with translated():
            missing.update(map(text_of, await store.eval(_UNTAKEN, 1, KEY, *some)))
    return missing


async def drop(store: Store, identities: Iterable[str]) -> None:
    """Nobody will ask for them any more."""
    for some in _parts(list(identities), _AT_ONCE):
        with translated():
            await store.hdel(KEY, *some)


async def untake(store: Store) -> None:
    """The ledger was set back and may lack any of them: whoever found them publishes them again."""
    with translated():
        held = await store.hgetall(KEY)
    await _each(store, _UNTAKE, [text_of(name) for name, text in held.items() if not text])


async def _each(store: Store, script: str, identities: Iterable[str]) -> None:
    for some in _parts(list(identities), _AT_ONCE):
        with translated():
            await store.eval(script, 1, KEY, *some)


def _parts(words: Sequence[str], most: int) -> Iterable[Sequence[str]]:
    return (words[start : start + most] for start in range(0, len(words), most))


def _pair(finding: Finding) -> tuple[str, str]:
    return finding.identity, msgspec.json.encode(finding).decode()


def _decode(text: bytes | str) -> Finding | None:
    try:
        return msgspec.json.decode(text, type=Finding)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _once(found: Iterable[Finding]) -> list[Finding]:
    """A scan may name a field twice while the hash is growing."""
    return list({each.identity: each for each in found}.values())
