"""The command line of the comparison, and who takes part."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.compare.fetching import Compiled, Fetched
from loadtests.compare.peers.envoy import configuration
from loadtests.compare.peers.roster import PEERS, called
from loadtests.compare.scenarios import SCENARIOS, UnknownName

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nginx-luna"], "no peer is called nginx-luna; there are direct, tallygate"),
        (["--scenario", "jsn"], "no scenario is called jsn; there are json"),
        (["--runs", "0"], "--runs"),
    ],
)
def test_a_wrong_name_is_told_what_there_is(arguments: list[str], said: str) -> None:
    """Exit status 2, and nothing is measured."""
    argv = [sys.executable, "-m", "loadtests.compare", *arguments]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_peers_are_found_by_name() -> None:
    """Each has a name of its own."""
    assert called([]) == list(PEERS)
    assert [peer.name for peer in called(["envoy", "direct"])] == ["direct", "envoy"]
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    with pytest.raises(UnknownName):
        called(["envoi"])


def test_every_scenario_is_played_by_ours_and_by_those_it_is_compared_with() -> None:
    """The direct call is no peer where a proxy's own memory or latency is asked for."""
    for scenario in SCENARIOS:
        playing = {peer.name for peer in PEERS if peer.plays(scenario)}
        assert {"tallygate", "tallygate-portable", "nginx-lua", "envoy"} <= playing
        assert ("direct" in playing) is (scenario.kind == "flood")


def test_what_is_missing_is_named_with_what_installs_it(tmp_path: Path) -> None:
    """Nothing is asked of the network for that."""
    command = Fetched("litellm[proxy]", "litellm").missing(tmp_path)
    assert command is not None
    assert command.endswith("/pip install 'litellm[proxy]'")
    (tmp_path / "litellm" / "bin").mkdir(parents=True)
    (tmp_path / "litellm" / "bin" / "litellm").touch()
    assert Fetched("litellm[proxy]", "litellm").missing(tmp_path) is None


def test_what_is_compiled_is_made_anew_when_the_code_has_changed(tmp_path: Path) -> None:
    """It is the code that is here, or it says nothing about it."""
    compiled = Compiled()
    command = compiled.missing(tmp_path)
    assert command is not None
    assert "TALLYGATE_COMPILE=1" in command
    home = tmp_path / "tallygate"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "tallygate").touch()
    (home / "pyvenv.cfg").touch()
    assert compiled.missing(tmp_path) is None
    os.utime(home / "pyvenv.cfg", (0, 0))
    assert compiled.missing(tmp_path) is not None


def test_envoy_is_told_where_to_listen_and_where_to_send() -> None:
    """And not to hold calls back by its own limits."""
    resources = configuration(1234, 5678)["static_resources"]
    assert "1234" in str(resources["listeners"])
    assert "5678" in str(resources["clusters"])
    assert "'max_requests': 100000" in str(resources["clusters"])
