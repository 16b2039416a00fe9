"""A whole run for Prometheus to look at: the demo, which buys, calls, closes, pushes and collects."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from metering.tether import tethered

_PATIENCE_S = 90.0


@contextmanager
def demo(folder: Path, requests: int = 60) -> Iterator[dict[str, str]]:
    """The URLs of a demo that stays until the block ends."""
    out = folder / "demo.out"
    argv = ["demo", "--requests", str(requests), "--json", "--keep"]
    with out.open("wb") as stdout, (folder / "demo.err").open("wb") as stderr:
        process = subprocess.Popen(
            tethered([sys.executable, "-P", "-m", "tallygate", *argv]),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, "TMPDIR": str(folder)},
            start_new_session=True,
        )
    try:
        yield _urls(process, out)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_PATIENCE_S)


def _urls(process: "subprocess.Popen[bytes]", out: Path) -> dict[str, str]:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            urls: dict[str, str] = json.loads(out.read_text())["urls"]
        except ValueError:
            time.sleep(0.1)
        else:
            return urls
    raise AssertionError(f"the demo did not show its report: {out.with_suffix('.err').read_text()}")


def scraped(url: str) -> dict[str, Metric]:
    """What a listener exposes, by the name that HELP and TYPE give it."""
    text = httpx.get(url, trust_env=False).text
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = family
    return found
