"""The dashboards are what their code says, and each of their queries has an answer."""

import json
import math
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from metering.tether import tethered
from tests.debian import needed
from tests.deploy.scraping import beginning, run
from tests.deploy.test_metrics_documented import DOCS, ROW

boards = pytest.importorskip("deploy.grafana.boards", reason="grafana-foundation-sdk is not here")
FOLDER = DOCS.parents[1] / "deploy"
QUERIES = [
    (board.name, panel.title, expr)
    for board in boards.BOARDS
    for row in board.rows
    for panel in row.panels
    for expr, _ in panel.queries
]


def test_the_files_are_what_the_code_draws() -> None:
    """`python -m deploy.grafana` changes nothing, and nothing else lies there."""
    drawing = pytest.importorskip("deploy.grafana.drawing", reason="grafana-foundation-sdk is away")
    drawn = {f"{board.name}.json": drawing.document(board) for board in boards.BOARDS}
    assert {p.name: p.read_text() for p in (FOLDER / "grafana").glob("*.json")} == drawn
    for text in drawn.values():
        panels = json.loads(text)["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_metric_that_is_asked_for_exists() -> None:
    """In the list that a running system is compared with."""
    known = {name for name, *_ in ROW.findall(DOCS.read_text())}
    for board, title, expr in QUERIES:
        for name in re.findall(r"\b(?:gateway|billing_sync)_\w+", expr):
            assert {name, re.sub("_(bucket|sum|count)$", "", name)} & known, (
                f"{board}, {title}: {name}"
            )


@contextmanager
def prometheus(folder: Path, urls: dict[str, str]) -> Iterator[str]:
    """The real one, which scrapes every second, with our configuration but for the addresses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / "prometheus" / "tallygate.rules.yml")]
    for job in config["scrape_configs"]:
        address = urls["gateway" if job["job_name"] == "tallygate-gateway" else "control"]
        job["static_configs"] = [{"targets": [address.removeprefix("http://")]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    words = [
        needed("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            tethered([*words, f"--web.listen-address=127.0.0.1:{port}"]), stdout=log, stderr=log
        )
    try:
        _until_ready(f"http://127.0.0.1:{port}/-/ready", process, folder / "prometheus.log")
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.kill()
        process.wait()


def _until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def ask(api: str, path: str, **asked: Any) -> list[Any]:
    """What it answers."""
    reply = httpx.get(f"{api}/{path}", params=asked, trust_env=False, timeout=30).json()
    assert reply["status"] == "success", f"{asked}: {reply}"
    return list(reply["data"]["result"])


def has_data(api: str, expr: str, since_s: float) -> bool:
    """Whether any sample since then is a number."""
    for name, value in (("$__rate_interval", "5s"), ("$__range", "60s")):
        expr = expr.replace(name, value)
    found = ask(api, "query_range", query=expr, start=since_s, end=since_s + 120, step=1)
    return any(not math.isnan(float(value)) for series in found for _, value in series["values"])


def test_every_query_has_an_answer(tmp_path: Path) -> None:
    """Of every panel, by a Prometheus that scraped a whole run; nothing is wrong there, but that
    a sold package is nearly empty; every example of the documentation is understood."""
    needed("prometheus")
    begun_s = time.time()  # noqa: TID251  (Prometheus lives in the real time)
    with beginning(tmp_path, seconds=6) as (urls, config, done), prometheus(tmp_path, urls) as api:
        done()
        run(["reconcile", "-c", str(config)], tmp_path)
        end = time.monotonic() + 20
        left = QUERIES
        while left and time.monotonic() < end:
            time.sleep(1)
            left = [each for each in left if not has_data(api, each[2], begun_s)]
        assert left == []
        for name, *_, example in ROW.findall(DOCS.read_text()):
            ask(api, "query", query=example.replace("\\|", "|"), time=begun_s + 30), name
        firing = {
            alert["metric"]["alertname"]
            for alert in ask(api, "query", query='ALERTS{alertstate="firing"}')
        }
        assert firing <= {"TallygatePackageNearlyEmpty"}
