"""The push log: files in data_dir that remember every batch before it is pushed.

They outlive the ledger: set back to a backup, it learns from them what the marketplace may already
have. Entries are only ever appended, under a file lock that ends with its holder. The order of an
append, and what a kill after each step leaves behind:

1. a torn end is cut           it was never synced, so what stood there was never pushed
2. the file is made, if a new one is due, and its folder synced
3. the line is written         torn or whole; if torn, the next append begins at 1
4. the line is synced          it is there for good; only now may the batch be pushed

A disk that is full fails the append and leaves the file as it was.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from billing_sync.push_entries import Claimed, Entry, entry_of, line_of
from metering.segments import sync

DAY_MS: Final = 86_400_000
KEEP_MS: Final = 62 * DAY_MS  # the marketplace takes nothing older than 21 days (spec §7.3)
MAX_BYTES: Final = 16 << 20  # of one file
_LOCK: Final = "lock"
_FILES: Final = "[0-9][0-9][0-9][0-9][0-9][0-9]-*.jsonl"


class Line(NamedTuple):
    """A line of the log, where it stands, and its entry: None where it is damaged."""

    file: str
    number: int
    entry: Entry | None


@dataclass
class _Seen:
    """How far the newest file has been read: the end of its last whole line, its newest claim."""

    path: Path | None = None
    end: int = 0
    newest: str = ""


class PushLog:
    """The log in one folder, for any number of processes. Its calls block; make them in a thread."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, keep_ms: int = KEEP_MS) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._keep_ms = keep_ms
        self._mutex = threading.Lock()
        self._seen = _Seen()

    def append(self, entry: Entry, *, durable: bool) -> None:
        """Add an entry, and with `durable` wait until it is there for good. Raises OSError."""
        with self._mutex, self._locked():
            path = self._file_for(entry.at)
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                self._catch_up(path)
                os.ftruncate(handle, self._seen.end)
                _write(handle, line_of(entry), self._seen.end, durable=durable)
            finally:
                os.close(handle)
            self._catch_up(path)

    def newest(self) -> str:
        """The id of the newest claim, "" without any. Costs little while nothing is appended.

        Raises OSError.
        """
        with self._mutex:
            files = self._files()
            if not files:
                self._seen = _Seen()
                return ""
            self._catch_up(files[-1])
            return self._seen.newest

    def lines(self) -> Iterator[Line]:
        """Every line, the oldest first; a torn end is left out. Raises OSError."""
        damaged: list[Line] = []
        for path in self._files():
            with path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    found = Line(path.name, number, entry_of(line))
                    if found.entry is None:
                        damaged.append(found)  # torn, unless something whole follows
                        continue
                    yield from damaged
                    damaged.clear()
                    yield found

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(_FILES))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync(self.folder.parent)
        lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _file_for(self, at: int) -> Path:
        """The newest file, or a new one: each month, or when the newest has grown large."""
        files = self._files()
        month = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m")
        if files and files[-1].stem.endswith(month) and files[-1].stat().st_size < self._max_bytes:
            return files[-1]
        number = int(files[-1].name.partition("-")[0]) + 1 if files else 1
        path = self.folder / f"{number:06}-{month}.jsonl"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync(self.folder)
        self._prune(files, at)
        return path

    def _prune(self, files: list[Path], now_ms: int) -> None:
        """Old files go, never the newest: its last claim is what the ledger is held against."""
        for path in files[:-1]:
            newest = max((entry.at for entry in _entries(path)), default=now_ms)
            if newest < now_ms - self._keep_ms:
                path.unlink(missing_ok=True)

    def _catch_up(self, path: Path) -> None:
        """Read what was appended to the newest file since the last look, by whomever."""
        seen, size = self._seen, path.stat().st_size
        if path != seen.path or size < seen.end:  # a new file, or an append that was taken back
            seen = _Seen(path)
        if size > seen.end:
            _read_on(seen, path)
        if not seen.newest:
            seen.newest = self._newest_before(path)
        self._seen = seen

    def _newest_before(self, path: Path) -> str:
        for earlier in reversed(self._files()):
            if earlier < path:
                found = [entry.claim for entry in _entries(earlier) if isinstance(entry, Claimed)]
                if found:
                    return found[-1]
        return ""


def _write(handle: int, line: bytes, start: int, *, durable: bool) -> None:
    try:
        view = memoryview(line)
        while view:
            view = view[os.write(handle, view) :]
        if durable:
            os.fsync(handle)
    except OSError:
        os.ftruncate(handle, start)
        raise


def _read_on(seen: _Seen, path: Path) -> None:
    with path.open("rb") as lines:
        lines.seek(seen.end)
        end = seen.end
        for line in lines:
            end += len(line)
            entry = entry_of(line)
            if entry is not None:
                seen.end = end
            if isinstance(entry, Claimed):
                seen.newest = entry.claim


def _entries(path: Path) -> Iterator[Entry]:
    with path.open("rb") as lines:
        yield from (entry for line in lines if (entry := entry_of(line)) is not None)
