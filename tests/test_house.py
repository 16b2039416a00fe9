"""The rules of the house that no other tool checks, held against every file."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "metering", "billing_sync", "tallygate")
SIMULATOR = ROOT / "tallygate" / "simulator"
MOST_LINES = 300
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base"}

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MODULES = [path for path in SOURCES if path.name != "__init__.py"]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), named(path))


def test_the_house_is_where_we_look_for_it() -> None:
    """Guards that guard nothing would all be green."""
    assert {named(path).split("/")[0] for path in SOURCES} == set(PACKAGES)
    assert len(MODULES) > 100
    assert len(TESTS) > 50
    assert any(SIMULATOR in path.parents for path in MODULES)


def test_every_module_says_what_it_owns() -> None:
    """In a docstring on top."""
    assert [named(path) for path in MODULES if not ast.get_docstring(tree(path))] == []


def test_packages_re_export_nothing() -> None:
    """Every `__init__.py` is empty: an import of one module is no import of others."""
    inits = [path for path in SOURCES if path.name == "__init__.py"]
    assert inits
    assert [named(path) for path in inits if path.read_bytes()] == []


def test_no_file_is_long() -> None:
    """What takes three hundred lines is two things."""
    long = [named(path) for path in MODULES if len(path.read_text().splitlines()) > MOST_LINES]
    assert long == []


def test_every_file_is_named_after_something() -> None:
    """Not after having found no name."""
    paths = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    assert [named(path) for path in paths if set(path.stem.split("_")) & VAGUE] == []


def test_every_test_says_what_it_shows() -> None:
    """Its docstring is the behaviour in a sentence."""
    silent = [
        f"{named(path)}::{node.name}"
        for path in TESTS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_tests_use_no_mocks() -> None:
    """Fakes can be read; mocks agree with everything."""
    mocking = [
        named(path)
        for path in (ROOT / "tests").rglob("*.py")
        for name in imported(path)
        if name.split(".")[:2] == ["unittest", "mock"]
    ]
    assert mocking == []


def imported(path: Path) -> Iterator[str]:
    """Absolute names of everything the file imports, wherever in it."""
    yield from names_in(tree(path), path)


def names_in(module: ast.Module, path: Path) -> Iterator[str]:
    """The same for a module that would stand at `path`."""
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def test_the_simulator_knows_nothing_of_the_product() -> None:
    """It was written from the marketplace's documents; shared code would hide our mistakes."""
    foreign = {
        f"{named(path)} imports {name}"
        for path in SIMULATOR.rglob("*.py")
        for name in imported(path)
        if name.split(".")[0] in PACKAGES and not f"{name}.".startswith("tallygate.simulator.")
    }
    assert foreign == set()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import gateway.app", "gateway.app"),
        ("from billing_sync.koogallery import signing", "billing_sync.koogallery.signing"),
        ("from .. import config", "tallygate.config"),
        ("from ..demo.shop import Shop", "tallygate.demo.shop.Shop"),
        ("from .wire import only", "tallygate.simulator.wire.only"),
        ("def f():\n    import metering", "metering"),
    ],
)
def test_no_way_of_importing_is_overlooked(line: str, name: str) -> None:
    """Relative or absolute, on top or inside."""
    assert list(names_in(ast.parse(line), SIMULATOR / "probe.py")) == [name]


IMPORT_ALL = """
import importlib, os, signal, stat, sys, threading

def state():
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return {
        "files": sorted(os.listdir(".")),
        "threads": threading.active_count(),
        "handlers": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],
        "sockets": [x for x in links if os.path.exists(x) and stat.S_ISSOCK(os.stat(x).st_mode)],
    }

before = state()
for name in sys.stdin.read().split():
    importlib.import_module(name)
after = state()
assert after == before, after
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for sockets in /proc")
def test_importing_does_nothing(tmp_path: Path) -> None:
    """No file, thread, socket, signal handler or output; warnings are errors."""
    names = [named(path).removesuffix(".py").replace("/", ".") for path in MODULES]
    names.remove("tallygate.__main__")  # which is the command
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL],
        input="\n".join(names),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_the_changelog_ends_with_this_version() -> None:
    """The newest entry is the version of the distribution."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == project["version"]


def test_what_is_compiled_is_there_and_is_not_decoded() -> None:
    """mypyc forgets what is in a `dict[int, int]`, by which msgspec would decode it."""
    listed = re.search(r"COMPILED = \[(.*?)\]", (ROOT / "setup.py").read_text(), re.DOTALL)
    assert listed
    modules = re.findall(r'"(.*?)"', listed[1])
    assert modules
    assert modules == sorted(set(modules))
    for module in modules:
        text = (ROOT / module).read_text()
        structs = re.findall(
            r"class \w+\((?:msgspec\.)?Struct.*?(?=\nclass |\n\w|\Z)", text, re.DOTALL
        )
        assert [each for each in structs if "dict[int" in each] == [], module


def test_constraints_name_versions_and_no_hosts() -> None:
    """What was installed from where is nobody's business; every line pins one release."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[^/@:\s]+", line)] == []
