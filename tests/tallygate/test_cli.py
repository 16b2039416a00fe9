import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tallygate.cli import ELSEWHERE, cli
from tests.installations import (
    configuration,
    eventually,
    run,
    tallygate,
    valkey_on_tcp,
    write,
)

NOBODY = "http://127.0.0.1:1"


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None and not command.hidden:
            yield (*path, name)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_every_command_shows_an_example(words: tuple[str, ...]) -> None:
    """`--help` says what a command does and how it is called, on a line of its own."""
    shown = invoke(*words, "--help")
    assert shown.exit_code == 0
    example = shown.output.split("Example:\n")[1].splitlines()[0]
    assert " ".join(("tallygate", *words)) in shown.output.split("Example:\n")[1]
    assert len(example) - len(example.lstrip()) == 4


def test_commands_of_other_files_are_found_by_their_own_names() -> None:
    """And one that does not exist is not."""
    context = click.Context(cli)
    for name in ELSEWHERE:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert cli.get_command(context, "serv") is None


def test_the_version_is_told() -> None:
    """That of the distribution."""
    from importlib.metadata import version

    assert invoke("--version").output == f"tallygate, version {version('tallygate')}\n"


@pytest.mark.parametrize(
    "words", [("serv",), ("sync",), ("serve", "--port", "1"), ("gateway", "x")], ids=" ".join
)
def test_wrong_usage_is_two(words: tuple[str, ...]) -> None:
    """What cannot be meant is not guessed at."""
    assert invoke(*words).exit_code == 2


@pytest.mark.parametrize(
    "words", [("serve",), ("gateway",), ("control",), ("sync", "once"), ("sync", "loop")]
)
def test_a_wrong_configuration_is_one_line_per_problem(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """Each names the file and the key; nothing is started and nothing made."""
    path = tmp_path / "t.yaml"
    path.write_text("gatewey: {}\npartitions: many\n")
    result = invoke(*words, "-c", str(path))
    lines = result.output.splitlines()
    assert result.exit_code == 2
    assert [line.removeprefix("Error: ").split(": ")[0] for line in lines] == [str(path)] * 2
    assert ["gatewey" in line or "partitions" in line for line in lines] == [True, True]
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.yaml"]


def test_a_missing_configuration_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default is tallygate.yaml in the working directory."""
    monkeypatch.chdir(tmp_path)
    result = invoke("serve")
    assert result.exit_code == 2
    assert result.output == (
        "Error: tallygate.yaml: there is no such file; `tallygate init tallygate.yaml` writes one\n"
    )


def test_a_redis_that_is_away_is_one_line(tmp_path: Path) -> None:
    """One sync run cannot wait."""
    path = write(tmp_path, configuration(NOBODY, redis="redis://:hunter2@127.0.0.1:1"))
    result = invoke("sync", "once", "-c", str(path))
    assert result.exit_code == 1
    assert result.output.startswith("Error: Redis cannot be reached")
    assert result.output.count("\n") == 1
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    "words", [("gateway",), ("control",), ("sync", "once"), ("sync", "loop")], ids=" ".join
)
def test_a_redis_that_evicts_is_refused_by_all(words: tuple[str, ...], tmp_path: Path) -> None:
    """Whoever would count in it."""
    with valkey_on_tcp(tmp_path, "--maxmemory-policy", "allkeys-lru") as url:
        result = invoke(*words, "-c", str(write(tmp_path, configuration(NOBODY, redis=url))))
    assert result.exit_code == 1
    assert result.output.startswith("Error: Redis has maxmemory-policy allkeys-lru")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("plane", ["gateway", "control"])
def test_a_taken_address_is_one_line(plane: str, tmp_path: Path) -> None:
    """Of a plane alone too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        section = {"listen": "127.0.0.1:0", "admin_listen": address}
        path = write(tmp_path, configuration(NOBODY, **{plane: section}))
        result = invoke(plane, "-c", str(path))
    assert result.exit_code == 1
    assert result.output == f"Error: cannot listen on {address}: Address already in use\n"


def test_an_empty_secret_is_one_line(tmp_path: Path) -> None:
    """The file is named."""
    path = write(tmp_path, configuration(NOBODY, redis="redis://127.0.0.1:1"))
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "secret_key").touch()
    result = invoke("gateway", "-c", str(path))
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith(f"Error: {tmp_path}/var/secret_key is empty")


def test_a_ledger_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """Whatever stands in its place."""
    with valkey_on_tcp(tmp_path) as url:
        path = write(tmp_path, configuration(NOBODY, redis=url))
        (tmp_path / "var" / "ledger.db").mkdir(parents=True)
        result = invoke("sync", "once", "-c", str(path))
    assert result.exit_code == 1
    assert result.output == "Error: the ledger cannot be used: unable to open database file\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_sync_loop_ends_when_told(number: signal.Signals, tmp_path: Path) -> None:
    """With 0 and without a word; `sync once` may run beside it, before and after."""
    with valkey_on_tcp(tmp_path) as url:
        path = str(write(tmp_path, configuration(NOBODY, redis=url)))
        assert invoke("sync", "once", "-c", path).exit_code == 0
        ledger = tmp_path / "var" / "ledger.db-wal"
        with tallygate("sync", "loop", "-c", path, folder=tmp_path) as loop:
            eventually(ledger.exists)
            once = invoke("sync", "once", "--close-now", "-c", path)
            assert (once.exit_code, once.output) == (0, "")
            assert loop.end(number) == 0
    assert (loop.stdout, loop.stderr) == ("", "")


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """`python -m tallygate` is the same, and names itself so."""
    command = run("nonsense", folder=tmp_path)
    assert command.process.returncode == 2
    assert command.stderr.startswith("Usage: tallygate [OPTIONS]")
