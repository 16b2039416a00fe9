import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metering.tether import tethered
from tests.metering.test_embedded import wait_until_gone

PARENT = """
import subprocess, sys
from metering.tether import tethered
child = subprocess.Popen(tethered(["/bin/sleep", "60"]))
print(child.pid, flush=True)
child.wait()
"""


def test_the_command_runs_as_if_alone() -> None:
    """Its arguments, output and exit status are its own."""
    command = ["/bin/sh", "-c", 'echo "$1"; exit 7', "sh", "a b"]
    done = subprocess.run(tethered(command), check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("a b\n", "", 7)


def test_neither_folder_nor_environment_gets_a_say(tmp_path: Path) -> None:
    """A module named as one of Python's in the working directory is not run."""
    (tmp_path / "ctypes.py").write_text("raise SystemExit('hijacked')")
    done = subprocess.run(
        tethered(["/bin/echo", "fine"]),
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_a_parent_that_died_before_it_was_asked_for_leaves_no_child() -> None:
    """The shim of a dead parent ends without running the command."""
    command = tethered(["/bin/echo", "ran"])
    command[command.index(str(os.getpid()))] = "1"  # somebody else's child
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_the_child_dies_with_a_killed_parent() -> None:
    """kill -9 of the parent is enough."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        comm = Path(f"/proc/{child}/comm")
        while comm.read_text() != "sleep\n":  # the shim has done its work
            time.sleep(0.01)
        parent.kill()
    assert wait_until_gone(child)


THREAD = """
import subprocess, threading
from metering.tether import tethered

def start():
    command = tethered(["/bin/sh", "-c", "echo on; exec sleep 60"])
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    child.stdout.readline()
    children.append(child)

children = []
thread = threading.Thread(target=start)
thread.start()
thread.join()
print(children[0].wait(30))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_the_child_dies_with_the_thread_that_started_it() -> None:
    """Why it should be the main thread: one of a pool ends when there is nothing more to do."""
    done = subprocess.run([sys.executable, "-c", THREAD], check=True, stdout=subprocess.PIPE)
    assert done.stdout == b"-15\n"


FROZEN = """
import os, signal
from metering.tether import woken_at_parents_death
woken_at_parents_death()
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_a_stopped_child_goes_on_when_its_parent_is_killed() -> None:
    """And comes to its own end."""
    parent = f"import subprocess, sys; subprocess.call([sys.executable, '-c', {FROZEN!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        child = int(running.stdout.readline())
        while " T " not in Path(f"/proc/{child}/stat").read_text():
            time.sleep(0.01)
        running.kill()
    assert wait_until_gone(child)
