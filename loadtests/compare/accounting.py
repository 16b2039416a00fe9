"""What a proxy costs: CPU seconds and resident anonymous memory, read from /proc."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from loadtests.compare.processes import descendants

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def cpu_ticks(stat: str) -> int:
    """Of a `/proc/<pid>/stat`: user and kernel time, children that have ended included (proc(5))."""
    fields = stat.rpartition(") ")[2].split()
    return sum(int(text) for text in fields[11:15])  # utime stime cutime cstime


def anonymous_kib(status: str) -> int:
    """Of a `/proc/<pid>/status`: RssAnon, in KiB; 0 where it has none (a zombie)."""
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


def idle_ticks(stat: str, cores: Iterable[int]) -> int:
    """Of `/proc/stat`: how long these cores had nothing to do, or waited for a disk."""
    lines = {line.split(" ", 1)[0]: line.split()[1:] for line in stat.splitlines()}
    return sum(int(text) for core in cores for text in lines[f"cpu{core}"][3:5])


def idle_seconds(cores: Iterable[int]) -> float:
    """The sum of these cores, since the machine started."""
    return idle_ticks(Path("/proc/stat").read_text(), cores) / _TICKS_PER_S


def cpu_seconds(roots: Iterable[int]) -> float:
    """What these processes and all their descendants have used so far."""
    return sum(cpu_ticks(text) for text in _of_all(roots, "stat")) / _TICKS_PER_S


def anonymous_bytes(roots: Iterable[int]) -> int:
    """What they hold that is in no file: heaps and stacks. Socket buffers are the kernel's."""
    return sum(anonymous_kib(text) for text in _of_all(roots, "status")) * 1024


def _of_all(roots: Iterable[int], name: str) -> Iterable[str]:
    for root in roots:
        for pid in descendants(root):
            with suppress(OSError):
                yield Path(f"/proc/{pid}/{name}").read_text()
