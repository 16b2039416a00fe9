"""A whole run for Prometheus to look at: the demo, which buys, calls, closes, pushes and collects."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from metering.tether import tethered

_PATIENCE_S = 90.0

Urls = dict[str, str]


@contextmanager
def beginning(folder: Path, **options: int) -> Iterator[tuple[Urls, Path, Callable[[], Urls]]]:
    """A demo whose planes have begun: where their admin listeners are, its configuration, and what
    waits for the end of its run and gives all URLs. It stays until the block ends."""
    out = folder / "demo.out"
    argv = ["demo", "--json", "--keep"]
    argv += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with out.open("wb") as stdout, (folder / "demo.err").open("wb") as stderr:
        process = subprocess.Popen(
            tethered([sys.executable, "-P", "-m", "tallygate", *argv]),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, "TMPDIR": str(folder)},
            start_new_session=True,
        )

    def patiently(look: Callable[[], Any]) -> Any:
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end and process.poll() is None:
            try:
                return look()
            except (ValueError, OSError):
                time.sleep(0.1)
        raise AssertionError((folder / "demo.err").read_text())

    def admin(name: str) -> str:
        (path,) = folder.glob(f"tallygate-demo-*/var/run/{name}.json")
        return str(json.loads(path.read_text())["admin"])

    try:
        urls = {name: patiently(partial(admin, name)) for name in ("gateway", "control")}
        (config,) = folder.glob("tallygate-demo-*/tallygate.yaml")
        yield urls, config, lambda: patiently(lambda: json.loads(out.read_text())["urls"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_PATIENCE_S)


@contextmanager
def demo(folder: Path, requests: int = 60) -> Iterator[Urls]:
    """The URLs of a demo that has run and stays until the block ends."""
    with beginning(folder, requests=requests) as (_, _, done):
        yield done()


def run(words: Sequence[str], folder: Path) -> None:
    """`tallygate …`, which ends well."""
    argv = [sys.executable, "-P", "-m", "tallygate", *words]
    ended = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def scraped(url: str) -> dict[str, Metric]:
    """What a listener exposes, by the name that HELP and TYPE give it."""
    text = httpx.get(url, trust_env=False).text
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = family
    return found
