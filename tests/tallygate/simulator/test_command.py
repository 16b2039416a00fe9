"""`simulate serve` as a process, `simulate lifecycle` against a merchant in a thread."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallygate.simulator.clock import WallClock
from tallygate.simulator.command import simulate
from tallygate.simulator.debugging import ACTIVITIES, LICENSES
from tallygate.simulator.kit_calls import SYNCS
from tests.tallygate.doctor.kit_served import serving_kit
from tests.tallygate.simulator.kit_merchant import KIT_KEY, PUBLIC_PEM
from tests.tallygate.simulator.stage import AK, KEY, SK, HandClock, Merchant


def merchant_now() -> Merchant:
    return Merchant(HandClock(WallClock().now_ms()))


@dataclass
class RunningMerchant:
    """A merchant on the wall clock and the address to reach him."""

    url: str
    merchant: Merchant = field(default_factory=merchant_now)


@pytest.fixture(scope="module")
def served() -> Iterator[RunningMerchant]:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        made = RunningMerchant(f"http://127.0.0.1:{listener.getsockname()[1]}/koogallery")

        async def answer(request: Request) -> Response:
            return await made.merchant.answer(request)

        app = Starlette(routes=[Route("/koogallery", answer, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        ended = pool.submit(server.run, [listener])
        yield made
        server.should_exit = True
        ended.result(timeout=10)


@pytest.fixture
def running(served: RunningMerchant) -> RunningMerchant:
    """The one server, a new merchant."""
    served.merchant = merchant_now()
    return served


def lifecycle(url: str, *options: str, key: str = KEY) -> Result:
    return CliRunner().invoke(
        simulate, ["lifecycle", "--url", url, *options], env={"KOO_ACCESS_KEY": key}
    )


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_each_activity(running, activity):
    """A good merchant passes, as a debug call with documented fields."""
    result = lifecycle(running.url, "--activity", activity)
    assert result.exit_code == 0, result.output
    assert f"{activity}  HTTP 200" in result.output
    [body] = running.merchant.bodies
    assert (body["activity"], body["testFlag"]) == (activity, "1")


@pytest.mark.parametrize("activity", LICENSES)
def test_each_activity_of_licenses(activity):
    """Codes are named by `license`."""
    with serving_kit() as url:
        result = lifecycle(url, "--activity", activity)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("version", [[], ["--kit-v1"]], ids=["V2", "V1"])
@pytest.mark.parametrize("activity", SYNCS)
def test_each_sync(activity, version, tmp_path):
    """Twice, with a key of its own; a forged one is refused."""
    (tmp_path / "public.pem").write_bytes(PUBLIC_PEM)
    env = {"KOO_ACCESS_KEY": KEY, "KOO_KIT_KEY": KIT_KEY}
    options = ["--activity", activity, "--public-key", str(tmp_path / "public.pem"), *version]
    with serving_kit() as url:
        for more in (["--duplicate"], ["--bad-signature"], ["--flag", "0"]):
            words = ["lifecycle", "--url", url, *options, *more]
            result = CliRunner().invoke(simulate, words, env=env)
            assert result.exit_code == 0, result.output


def test_finding_is_exit_1(running):
    """What is wrong is printed."""
    running.merchant.script("newInstance", {"resultCode": "000106", "resultMsg": "sold out"})
    result = lifecycle(running.url)
    assert result.exit_code == 1
    assert "production interface returned an error: 000106 sold out" in result.output


def test_wrong_key_is_exit_1(running):
    """The merchant refuses a signature with another key."""
    assert lifecycle(running.url, key="other").exit_code == 1


def test_duplicate(running):
    """Sent twice, with another businessId."""
    result = lifecycle(running.url, "--duplicate", "--order", "CS7", "--no-test-flag")
    assert result.exit_code == 0, result.output
    first, second = running.merchant.bodies
    assert first["businessId"] != second["businessId"]
    assert first["orderLineId"] == second["orderLineId"] == "CS7-000001"
    assert "testFlag" not in first


def test_bad_signature(running):
    """000001 is the right answer."""
    result = lifecycle(running.url, "--bad-signature")
    assert (result.exit_code, "000001" in result.output) == (0, True)


def test_out_of_order(running):
    """Everything later comes first, backwards."""
    result = lifecycle(running.url, "--out-of-order")
    assert result.exit_code == 0, result.output
    assert [body["activity"] for body in running.merchant.bodies] == [
        "releaseInstance",
        "updateInstanceStatus",
        "changeInstanceCheck",
        "upgradeInstance",
        "refreshInstance",
        "newInstance",
    ]


def test_json(running):
    """One object for scripts."""
    result = lifecycle(running.url, "--activity", "queryInstance", "--instance", "a,b", "--json")
    printed = json.loads(result.output)
    assert printed["findings"] == []
    assert [each["instanceId"] for each in printed["replies"][0]["reply"]["info"]] == ["a", "b"]


def test_incomplete_info_is_found(running):
    """The entries of queryInstance are checked too."""
    reply = {"resultCode": "000000", "resultMsg": "success", "info": [{"instanceId": "a"}]}
    running.merchant.script("queryInstance", reply)
    options = ("--activity", "queryInstance", "--instance", "a,b")
    assert "no entry for this instance" in lifecycle(running.url, *options).output


@pytest.mark.parametrize(
    "options",
    [
        ["lifecycle"],
        ["lifecycle", "--url", "nowhere"],
        ["lifecycle", "--url", "http://a", "--activity", "explode"],
        ["lifecycle", "--url", "http://a", "--activity", "tenantSync"],
        ["lifecycle", "--url", "http://a", "--public-key", "missing.pem"],
        ["lifecycle", "--url", "http://a", "--activity", "applicationSync", "--kit-key", "k"],
        ["lifecycle", "--url", "http://a", "--activity", "releaseInstance", "--no-test-flag"],
        ["lifecycle", "--url", "http://a", "--out-of-order", "--no-test-flag"],
        ["serve", "--listen", "9800"],
        ["serve", "--listen", "127.0.0.1:99999"],
        ["serve", "--listen", "127.0.0.1:x"],
        ["serve", "--collect-every", "0"],
        ["serve", "--push-auth", "none"],
        ["serve", "--zone", "Mars"],
        ["serve", "--validation-delay", "-1"],
        ["serve", "--faults", "{"],
        ["serve", "--faults", "[]"],
        ["serve", "--faults", '{"pull": []}'],
        ["serve"],
        ["explode"],
    ],
    ids=" ".join,
)
def test_usage_errors(options):
    """Exit 2 and a line that says what to do."""
    env = {"KOO_ACCESS_KEY": KEY, "KOO_AK": AK, "KOO_SK": None}
    result = CliRunner().invoke(simulate, options, env=env)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert KEY not in result.output


def test_taken_port():
    """A port that is in use is a usage error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        env = {"KOO_ACCESS_KEY": KEY, "KOO_AK": AK, "KOO_SK": SK}
        result = CliRunner().invoke(simulate, ["serve", "--listen", listen], env=env)
    assert (result.exit_code, "cannot listen on" in result.output) == (2, True)


@pytest.mark.parametrize("command", ["serve", "lifecycle"])
def test_help_has_an_example(command):
    """Every command shows how it is used."""
    assert "Example:" in CliRunner().invoke(simulate, [command, "--help"]).output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_a_signal(number):
    """One line when it listens, exit 0 and nothing more when it is told to stop."""
    code = "from tallygate.simulator.command import simulate; simulate()"
    command = [sys.executable, "-c", code, "serve", "--listen", "127.0.0.1:0"]
    env = {**os.environ, "KOO_ACCESS_KEY": KEY, "KOO_AK": AK, "KOO_SK": SK}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("KooGallery simulator on http://127.0.0.1:")
        assert httpx.get(f"{line.split()[-1]}/_sim/health").json()["status"] == "ok"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
