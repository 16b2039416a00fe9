"""Secrets that are made at first start and kept in the data directory, readable by their owner only."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path


class SecretUnusable(Exception):
    """A secret's file is there but holds no secret; the text names it and says what to do."""


def ensure(data_dir: Path, name: str) -> str:
    """The secret in `data_dir/name`; made from 32 random bytes when the file is not there yet.

    Whoever starts at the same time ends with the same secret: the file appears whole or not at
    all, also where the power fails. Raises SecretUnusable or OSError.
    """
    path = data_dir / name
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=data_dir, prefix=f".{name}.")
    try:
        with open(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
    _settle(data_dir)
    return _read(path)


def _read(path: Path) -> str:
    secret = path.read_text(errors="replace").strip()
    if not secret:
        raise SecretUnusable(
            f"{path} is empty; restore it from a backup, or remove it for a new one"
        )
    return secret


def _settle(folder: Path) -> None:
    """A name is on the disk once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
