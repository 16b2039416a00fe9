"""What dead workers counted, in one file, so that their pages can go.

The order, and what a kill before the next step leaves behind:

1. `past` is written anew with the dead pages added, and their names    nothing is counted twice:
2. the pages are removed                                                a page that is named does not
                                                                        count any more
Names are kept for a while after that, because somebody may have read a page before it went. One
worker does it at a time; the others read what is there.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gateway import pages
from gateway.series import Family, Sum
from metering.locks import try_lock

log = logging.getLogger("tallygate.gateway")

_KEPT_NAMES: Final = 1000
_MOST_BYTES: Final = 4 << 20
_NAME: Final = "past"
_VERSION: Final = 1


class Past(msgspec.Struct, array_like=True):
    """Sums of the pages that are named and of all before them."""

    version: int = _VERSION
    families: list[Family] = msgspec.field(default_factory=list)
    names: list[str] = msgspec.field(default_factory=list)


def read(folder: Path) -> Past:
    """The file; an empty past where there is none that can be read."""
    try:
        past = msgspec.msgpack.decode((folder / _NAME).read_bytes(), type=Past)
    except FileNotFoundError:
        return Past()
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as reason:
        log.error("what earlier workers counted is lost to the metrics: %s", reason)  # noqa: TRY400
        return Past()
    return past if past.version == _VERSION else Past()


def total(folder: Path) -> list[Family]:
    """What all workers count, the dead included.

    Pages are read before the past: one that goes meanwhile is named there.
    """
    read_pages = [(path.name, pages.lives(path), pages.read(path)) for path in pages.pages(folder)]
    past = read(folder)
    named = set(past.names)
    sums = Sum()
    for name, living, said in sorted(read_pages, key=lambda page: not page[1]):
        if name not in named:
            sums.add(said, living=living)
    sums.add(past.families, living=False)
    return sums.families()


def fold(folder: Path) -> int:
    """Take the pages of dead workers into the past; how many went. Raises OSError."""
    dead = [path for path in pages.pages(folder) if not pages.lives(path)]
    if not dead:
        return 0
    lock = try_lock(folder / "lock")
    if lock is None:
        return 0  # another worker does it
    try:
        return _fold(folder, [path for path in dead if path.exists()])
    finally:
        os.close(lock)


def _fold(folder: Path, dead: Sequence[Path]) -> int:
    past = read(folder)
    named = set(past.names)
    sums = Sum()
    sums.add(past.families, living=False)
    for path in dead:
        if path.name not in named:
            sums.add(pages.read(path), living=False)
    names = [*past.names, *(path.name for path in dead if path.name not in named)]
    _write(folder, Past(_VERSION, sums.families(), names[-_KEPT_NAMES:]))
    for path in dead:
        path.unlink(missing_ok=True)
    return len(dead)


def _write(folder: Path, past: Past) -> None:
    content = msgspec.msgpack.encode(past)
    if len(content) > _MOST_BYTES:  # names of routes that were, over years
        log.warning("metrics of earlier workers grew too large and begin again at zero")
        content = msgspec.msgpack.encode(Past(_VERSION, [], past.names))
    draft = folder / f".{_NAME}"
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / _NAME)
