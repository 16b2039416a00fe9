"""What a figure was measured on: the cores and who gets which, the processor, the kernel."""

import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class TooFewCores(Exception):
    """The proxy needs a core that nobody else uses."""


class Cores(NamedTuple):
    """Cores by who runs on them. `origin` has Redis and the control plane too."""

    proxy: frozenset[int]
    origin: frozenset[int]
    load: frozenset[int]

    def said(self) -> str:
        """`proxy 0, origin 1, load 1`."""
        parts = zip(self._fields, self, strict=True)
        return ", ".join(f"{name} {'+'.join(map(str, sorted(cores)))}" for name, cores in parts)


def divide(cores: Sequence[int]) -> Cores:
    """The first core is the proxy's; the others are halved, or shared where there is only one.

    Raises TooFewCores.
    """
    if len(cores) < 2:
        raise TooFewCores(
            "a comparison needs two cores: one for the proxy, one for everything else"
        )
    first, *others = sorted(cores)
    half = len(others) // 2
    origin, load = (others[:half], others[half:]) if half else (others, others)
    return Cores(frozenset([first]), frozenset(origin), frozenset(load))


def usable_cores() -> list[int]:
    """Cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def described() -> dict[str, str]:
    """Processor, memory, kernel, system and Python, as a reader wants them."""
    return {
        "processor": f"{os.cpu_count()} × {_after(Path('/proc/cpuinfo'), 'model name')}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": _system(),
        "python": f"Python {platform.python_version()}",
    }


def _system() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    return "unknown"


def _after(path: Path, name: str) -> str:
    with suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return platform.machine()
