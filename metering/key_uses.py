"""When API keys were last used, on the way from the gateways to the ledger: one Redis hash, key id to
UTC ms as text, which may be lost at any time.

1. told by a gateway       it waits; a later use takes its place, an earlier one changes nothing
2. read                    nothing happened
3. in the ledger           it is read again, and the ledger knows it
4. taken out of the hash   unless the key was used again meanwhile
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from metering.connection import Store, text_of, translated

KEY: Final = "tallygate:key_uses"
LONGEST_ID: Final = 64
_MOST_DIGITS: Final = 15  # of ms; Lua's numbers are exact up to there
_AT_ONCE: Final = 500  # ids in one call

_TELL: Final = """
for i = 1, #ARGV, 2 do
  local known = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '') or 0
  if known < tonumber(ARGV[i + 1]) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
return 1
"""
_TAKEN: Final = """
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 1
"""


class Waiting(NamedTuple):
    """What the hash holds: `uses` in UTC ms by key id, and all of it `as_written`."""

    uses: Mapping[str, int]
    as_written: Sequence[tuple[bytes | str, bytes | str]]


async def tell(store: Store, uses: Mapping[str, int]) -> None:
    """Say when keys were used last. Raises MeteringError; then say it again."""
    said = [(key_id, str(at)) for key_id, at in uses.items()]
    for start in range(0, len(said), _AT_ONCE):
        arguments = chain.from_iterable(said[start : start + _AT_ONCE])
        with translated():
            await store.eval(_TELL, 1, KEY, *arguments)


async def read(store: Store) -> Waiting:
    """What waits. What nobody of ours can have written is only in `as_written`."""
    with translated():
        raw = await store.hgetall(KEY)
    read = {text_of(key_id): text_of(at) for key_id, at in raw.items()}
    uses = {key_id: int(at) for key_id, at in read.items() if _is_use(key_id, at)}
    return Waiting(uses, list(raw.items()))


async def taken(store: Store, waiting: Waiting) -> None:
    """The ledger has it. Raises MeteringError; then it is read again."""
    for start in range(0, len(waiting.as_written), _AT_ONCE):
        arguments = chain.from_iterable(waiting.as_written[start : start + _AT_ONCE])
        with translated():
            await store.eval(_TAKEN, 1, KEY, *arguments)


def _is_use(key_id: str, at: str) -> bool:
    number = at.isascii() and at.isdigit() and len(at) <= _MOST_DIGITS
    return number and 0 < len(key_id) <= LONGEST_ID and key_id.isascii() and key_id.isprintable()
