"""The processes of an installation: who they are, and how they end."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from metering.tether import tethered
from tallygate.drills.processes import Running, kill
from tests.servers import eventually

SLEEP = "import time; time.sleep(60)"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("/usr/bin/python3 -P -m tallygate gateway -c tallygate.yaml", "gateway"),
        ("/usr/bin/python3 -P -m tallygate control -c tallygate", "control"),
        ("/usr/bin/python3 -P -m tallygate lanes adopt --quiet", "lanes"),
        ("/usr/bin/python3 -P -m tallygate", ""),
        ("/usr/bin/python3 -P -c pass", ""),
        ("", ""),
    ],
)
def test_a_process_is_known_by_its_words(line: str, role: str) -> None:
    """By the command of ours that it runs."""
    assert Running(2, 1, tuple(line.split())).role == role


def test_a_server_that_writes_its_own_title_is_known_too() -> None:
    """It is one word then."""
    assert Running(2, 1, ("/a/valkey-server unixsocket:/b/valkey.sock",)).role == "valkey"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(tethered([sys.executable, "-c", SLEEP]))
    yield process
    process.kill()
    process.wait()


def test_signals_go_to_one_process(sleeper: subprocess.Popen[bytes]) -> None:
    """One that is gone already is no error."""
    kill(sleeper.pid, signal.SIGKILL)
    assert eventually(sleeper.poll) == -signal.SIGKILL
    kill(sleeper.pid, signal.SIGKILL)
