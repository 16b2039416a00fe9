"""Peers that come from PyPI, each in a virtual environment of its own under a cache folder."""

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path


class NotFetched(Exception):
    """pip could not install it. The message has what pip said."""


@dataclass(frozen=True)
class Fetched:
    """A requirement of pip, and the program that it brings."""

    requirement: str
    program: str

    def home(self, cache: Path) -> Path:
        """Its virtual environment."""
        return cache / self.program

    def binary(self, cache: Path) -> Path:
        """The program's path, there or not."""
        return self.home(cache) / "bin" / self.program

    def missing(self, cache: Path) -> str | None:
        """The command that would install it; None when it is there."""
        if self.binary(cache).exists():
            return None
        home = self.home(cache)
        return f"python -m venv {home} && {home}/bin/pip install '{self.requirement}'"

    def version(self, cache: Path) -> str:
        """Of the installed package."""
        name = self.requirement.partition("[")[0]
        code = f"from importlib.metadata import version; print(version({name!r}))"
        argv = [str(self.home(cache) / "bin" / "python"), "-c", code]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603

    def fetch(self, cache: Path) -> None:
        """Install it, unless it is there. Raises NotFetched."""
        if self.missing(cache) is None:
            return
        home = self.home(cache)
        venv.create(home, with_pip=True, clear=True)
        argv = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        argv += ["--disable-pip-version-check", self.requirement]
        said = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
        if said.returncode:
            raise NotFetched(f"pip install {self.requirement}: {said.stderr.strip()[-300:]}")


def cache_folder() -> Path:
    """In the virtual environment that runs us: gone with it, and no root rights are needed."""
    return Path(sys.prefix) / "compare"
