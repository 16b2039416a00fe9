"""Secrets that are made at first start and kept in the data directory, readable by their owner only."""

import contextlib
import os
import secrets
from pathlib import Path


def ensure(data_dir: Path, name: str) -> str:
    """The secret in `data_dir/name`; made from 32 random bytes when the file is not there yet.

    Two processes that start at once end with the same secret: the file appears whole or not at all.
    """
    path = data_dir / name
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    data_dir.mkdir(parents=True, exist_ok=True)
    draft = data_dir / f".{name}.{os.getpid()}"
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(32) + "\n")
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    return path.read_text().strip()
