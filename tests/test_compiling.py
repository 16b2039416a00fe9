"""What setup.py does for whoever asks for compiled modules, as far as it goes without a compiler."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tallygate.cli import is_compiled

ROOT = Path(__file__).parents[1]


def test_what_is_edited_is_not_compiled() -> None:
    """An editable installation would go on with what was compiled: refused, with what to do."""
    pytest.importorskip("setuptools")
    ended = subprocess.run(
        [sys.executable, "setup.py", "editable_wheel"],
        cwd=ROOT,
        env=os.environ | {"TALLYGATE_COMPILE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "Leave out -e, or TALLYGATE_COMPILE." in ended.stderr


def test_the_version_says_what_runs() -> None:
    """Whoever measures must know it."""
    spec = find_spec("gateway.express")
    assert spec is not None
    assert is_compiled() is (Path(str(spec.origin)).suffix != ".py")
