"""docs/metrics.md and a running system name the same metrics, in both directions."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.debian import needed
from tests.deploy.scraping import demo, scraped

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \| ([^|]+) \| `([^`]+)` \|$", re.MULTILINE)
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_every_metric_is_documented_and_every_documented_one_is_there(tmp_path: Path) -> None:
    """With its kind and labels; each example names the metric; promtool has nothing to say."""
    documented = {
        name: (kind, labels) for name, kind, labels, _, _ in ROW.findall(DOCS.read_text())
    }
    for name, _, _, meaning, example in ROW.findall(DOCS.read_text()):
        assert name in example
        assert meaning.strip()
    with demo(tmp_path) as urls:
        pages = [urls["gateway_metrics"], urls["control_metrics"]]
        exposed = {name: each for page in pages for name, each in scraped(page).items()}
        texts = [httpx.get(page, trust_env=False).text for page in pages]
    assert exposed.keys() == documented.keys()
    for name, family in exposed.items():
        kind, labels = documented[name]
        assert kind == ("gauge" if family.type == "info" else family.type), name
        used = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert used <= set(filter(None, labels.replace(",", " ").split())), name
    if promtool := shutil.which("promtool"):
        for text in texts:
            checked = subprocess.run(
                [promtool, "check", "metrics"],
                input=text,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_no_document_names_a_metric_that_is_none() -> None:
    """Other pages, rules and READMEs."""
    root = DOCS.parents[1]
    known = {name for name, *_ in ROW.findall(DOCS.read_text())}
    pages = [*root.glob("docs/**/*.md"), root / "README.md", *root.glob("deploy/**/*.yml")]
    named = re.compile(r"\b(?:gateway|billing_sync)_[a-z_]+_(?:total|seconds|bytes|down|lag)\b")
    for page in pages:
        for name in named.findall(page.read_text()):
            assert name in known, f"{page.name}: {name}"


@pytest.mark.parametrize("name", ["tallygate.rules.yml"])
def test_rules_do_what_their_tests_say(name: str) -> None:
    """Every alert once silent and once not."""
    promtool = needed("promtool")
    folder = DOCS.parents[1] / "deploy" / "prometheus"
    for words in (
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "--lint=all", "--lint-fatal", name],
        ["test", "rules", name.replace(".rules.", ".test.")],
    ):
        done = subprocess.run(
            [promtool, *words], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
