"""Runs a script of deaths in a process of its own, on a file system in memory where there is one."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_MEMORY = Path("/dev/shm")


def killed(module: str, *words: object) -> dict[str, Any]:
    """What the script reported; its first word is the scenario, the second its folder."""
    scenario, *rest = map(str, words)
    where = tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None)
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"tests.{module}", scenario, where, *rest],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        shutil.rmtree(where, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
