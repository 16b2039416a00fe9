"""Programs that Debian packages and some tests need. Without one the test is left out by name, unless
nothing may be left out (TALLYGATE_LEAVE_OUT_NO_TEST, as in CI): then it fails."""

import os
import shutil
from typing import Final

import pytest

_PACKAGES: Final = {
    "chromium": "chromium",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "wrk": "wrk",
}


def needed(program: str) -> str:
    """Where it is."""
    found = shutil.which(program)
    if found is None:
        words = f"{program} is not here: apt-get install {_PACKAGES[program]}"
        if os.environ.get("TALLYGATE_LEAVE_OUT_NO_TEST"):
            pytest.fail(words)
        pytest.skip(words)
    return found
