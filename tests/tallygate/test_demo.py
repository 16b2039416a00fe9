import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tallygate.config import load
from tallygate.demo.run import METERS, configuration
from tallygate.demo.shop import ITEMS, PRODUCTS, Buyer
from tallygate.demo.tally import STATIONS
from tallygate.demo.traffic import Traffic
from tallygate.demo.upstream import StubUpstream
from tests.installations import Command, eventually, launched, nothing_runs_in, write
from tests.tallygate.serving import serving


@dataclass
class Demo:
    """A demo that runs; its temporary folder is below `temp`."""

    command: Command
    temp: Path

    def end(self) -> int:
        """Its exit status; it leaves nothing: no process, no file, no stack trace."""
        status = self.command.wait()
        nothing_runs_in(self.temp)
        assert list(self.temp.iterdir()) == []
        assert "Traceback" not in self.command.stderr
        return status

    def until(self, words: str) -> None:
        """Return when it has said so on either stream."""
        command = self.command
        eventually(lambda: words in command.stderr + command.stdout or command.process.poll())
        assert words in command.stderr + command.stdout


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[Demo]:
    """`tallygate demo` in an almost empty environment and a folder that nobody may write to."""
    temp, here = folder / "temp", folder / "here"
    temp.mkdir()
    here.mkdir(mode=0o555)
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temp)}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    with launched(["demo", *options], folder, environment, cwd=here) as command:
        yield Demo(command, temp)


def test_the_demo_agrees_with_itself(tmp_path: Path) -> None:
    """`--json --keep`: one document and nothing else; no meter differs; a package names its
    instance; everything still answers until Ctrl-C, which ends it well."""
    with demo(tmp_path, "--requests", "60", "--json", "--keep") as running:
        report = eventually(lambda: document(running))
        for page, status in (
            ("gateway_metrics", 200),
            ("console", 303),
            ("control_metrics", 200),
            ("usage_api", 401),
            ("customer_page", 200),
        ):
            assert httpx.get(report["urls"][page], trust_env=False).status_code == status
        running.command.tell(signal.SIGINT)
        assert running.end() == 0
    assert json.loads(running.command.stdout) == report
    assert (report["exact"], report["requests"], report["findings"]) == (True, 60, [])
    meters = {meter["meter"]: meter for meter in report["meters"]}
    assert sorted(meters) == sorted(METERS)
    for meter in meters.values():
        assert meter["difference"] == 0
        assert meter["client"] > 0
    sold = {str(product.meter) for product in ITEMS.values()}
    assert all(meters[meter][station] is not None for meter in sold for station in STATIONS)
    related = [entry["relatedInstanceId"] for p in report["packages"] for entry in p["usageInfo"]]
    assert related
    assert all(related)


def document(running: Demo) -> Any:
    """What stands on standard output, once it is whole; fails when the demo ends before."""
    assert running.command.process.poll() is None, running.command.stderr
    with suppress(ValueError):
        return json.loads(running.command.stdout)


def test_an_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle of the calls: no report, and the shell's own number."""
    with demo(tmp_path, "--requests", "1000000", "--json") as running:
        running.until("customers call the API")
        running.command.tell(signal.SIGINT)
        assert running.end() == 130
    assert running.command.stdout == ""


def child(parent: int, module: str) -> int:
    """The process id of the parent's child that runs the module."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
            line = (entry / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if int(fields[1]) == parent and module in line:
            return int(entry.name)
    raise AssertionError(f"{module} does not run")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
def test_a_demo_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    """An upstream that dies in the middle of the calls."""
    with demo(tmp_path, "--requests", "1000000") as running:
        running.until("customers call the API")
        os.kill(child(running.command.process.pid, "demo.upstream"), signal.SIGKILL)
        assert running.end() == 1
    said = [line for line in running.command.stderr.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1
    assert said[0].startswith("Error: the demo failed: Server error '502 Bad Gateway'")
    assert running.command.stdout == ""


def test_its_configuration_is_a_valid_one(tmp_path: Path) -> None:
    """It sells every item of the shop and talks to its own marketplace."""
    path = write(tmp_path, configuration("http://127.0.0.1:1", "http://127.0.0.1:2"))
    config = load(path, {})
    assert config.products == list(PRODUCTS)
    assert config.koogallery.host == "http://127.0.0.1:2"


def sent(url: str, buyers: Sequence[Buyer], calls: int) -> tuple[Traffic, list[int]]:
    """Traffic after so many calls, and how the progress went."""
    traffic = Traffic(url, buyers)
    done: list[int] = []
    anyio.run(lambda: traffic.send(lambda begun: begun >= calls, done.append))
    return traffic, done


def test_customers_count_what_an_upstream_answers() -> None:
    """Words sent and words received are what the upstream says, without a gateway in between."""
    stub = StubUpstream()
    with serving(stub) as url:
        traffic, done = sent(url, [Buyer("a", "k1", {}), Buyer("b", "k2", {})], 60)
    assert vars(traffic.counted) == vars(stub.totals)
    assert traffic.counted.requests == 60
    assert sorted(done) == list(range(1, 61))


def test_a_call_that_fails_ends_the_traffic() -> None:
    """Nothing is counted for it."""
    with pytest.RaisesGroup(httpx.ConnectError, flatten_subgroups=True):
        sent("http://127.0.0.1:1", [Buyer("a", "k", {})], 1)
