"""The configuration that the processes of one installation run, handed on in memory.

Whoever starts again and every helper runs what was checked, whatever the file holds meanwhile. Only
processes that we start get the handle.
"""

import os
import pickle
import time
import zlib
from typing import Final

from tallygate.config_schema import Config

_HEAD_BYTES: Final = 12  # length and CRC-32 of what follows
_TRIES: Final = 100
_PAUSE_S: Final = 0.01


class NotHandedOn(Exception):
    """Nothing whole stands there."""


def new_handle(config: Config) -> int:
    """A file descriptor of memory that holds this configuration."""
    handle = os.memfd_create("tallygate-configuration")
    put(handle, config)
    return handle


def put(handle: int, config: Config) -> None:
    """From now on this one is handed on."""
    data = pickle.dumps(config)
    os.pwrite(handle, len(data).to_bytes(8) + zlib.crc32(data).to_bytes(4) + data, 0)


def get(handle: int) -> Config:
    """What was put there last. Raises NotHandedOn."""
    for _ in range(_TRIES):
        data = os.pread(handle, os.fstat(handle).st_size, 0)
        body = data[_HEAD_BYTES : _HEAD_BYTES + int.from_bytes(data[:8])]
        if data[8:_HEAD_BYTES] == zlib.crc32(body).to_bytes(4):
            found = pickle.loads(body)  # noqa: S301  (our own parent wrote it, into memory of ours)
            if isinstance(found, Config):
                return found
        time.sleep(_PAUSE_S)  # it is just being written
    raise NotHandedOn
