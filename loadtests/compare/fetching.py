"""Peers that pip installs, each in a virtual environment of its own under a cache folder."""

import os
import subprocess
import sys
import venv
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[2]
_OURS: Final = ("setup.py", "pyproject.toml", "gateway/*.py", "metering/**/*.py", "tallygate/*.py")


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

    def options(self) -> list[str]:
        """Of pip, besides."""
        return []

    def environment(self) -> dict[str, str]:
        """What pip finds in its environment, besides."""
        return {}

    def fetch(self, cache: Path) -> None:
        """Install it, unless it is there. Raises NotFetched."""
        if self.missing(cache) is None:
            return
        home = self.home(cache)
        venv.create(home, with_pip=True, clear=True)
        argv = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        argv += ["--disable-pip-version-check", *self.options(), self.requirement]
        environment = os.environ | self.environment()
        said = subprocess.run(  # noqa: S603
            argv, env=environment, capture_output=True, text=True, check=False
        )
        if said.returncode:
            raise NotFetched(f"pip install {self.requirement}: {said.stderr.strip()[-300:]}")


@dataclass(frozen=True)
class Compiled(Fetched):
    """This very project with the way of a call compiled (setup.py), installed anew when it changed."""

    requirement: str = str(_ROOT)
    program: str = "tallygate"

    def missing(self, cache: Path) -> str | None:
        """Also where what is installed is older than a file of the project."""
        home = self.home(cache)
        with suppress(OSError):
            made = (home / "pyvenv.cfg").stat().st_mtime
            changed = max(path.stat().st_mtime for each in _OURS for path in _ROOT.glob(each))
            if self.binary(cache).exists() and made >= changed:
                return None
        pip = f"TALLYGATE_COMPILE=1 {home}/bin/pip install -c constraints.txt ."
        return f"python -m venv --clear {home} && {pip}"

    def options(self) -> list[str]:
        return ["-c", str(_ROOT / "constraints.txt")]

    def environment(self) -> dict[str, str]:
        return {"TALLYGATE_COMPILE": "1"}


def cache_folder() -> Path:
    """In the virtual environment that runs us: gone with it, and no root rights are needed."""
    return Path(sys.prefix) / "compare"
