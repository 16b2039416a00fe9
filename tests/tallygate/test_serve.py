import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import anyio
import httpx
import pytest
from sqlmodel import select

from billing_sync.models import UsageWindow
from billing_sync.store import ledger
from billing_sync.store.engine import open_engine, reading, sqlite_url
from metering.embedded import EmbeddedValkey
from tallygate.config import load
from tallygate.demo.upstream import StubUpstream
from tallygate.installation import Installation
from tallygate.planes import addresses, announced, bind_plane
from tallygate.serve import bound
from tallygate.sync import run_once
from tests.fakes import Ids
from tests.installations import (
    ANY_PORT,
    CHAT,
    KEY,
    Served,
    configuration,
    eventually,
    nothing_runs_in,
    ports_in_a_row,
    run,
    running_in,
    serve,
    tallygate,
    valkey_on_tcp,
    write,
)
from tests.tallygate.serving import serving


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """A stub that answers like an LLM API."""
    with serving(StubUpstream()) as url:
        yield url


def trace_in(served: Served) -> bool:
    return "Traceback" in served.command.stderr


def pid_of(served: Served, program: str) -> int:
    """The process id of Valkey or a plane of this installation, once it runs."""
    found: list[int] = eventually(
        lambda: [
            pid for pid, line in running_in(served.folder).items() if program in line.split()[0]
        ]
    )
    return found[0]


def killed(served: Served, plane: str) -> None:
    """Kill a plane, and wait for its successor."""
    pid = served.plane(plane)["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: served.plane(plane)["pid"] != pid)


def test_what_dies_is_started_again(tmp_path: Path, upstream: str) -> None:
    """Each part may be killed: service resumes and counts stay exact; without their supervisor all
    of them stop, and the counts are still there."""
    with serve(tmp_path, configuration(upstream)) as served:
        assert served.chat().status_code == 200
        served.counted(1)
        killed(served, "gateway")
        assert served.chat().status_code == 200
        served.counted(2)
        killed(served, "control")
        assert served.chat().status_code == 200
        served.counted(3)
        first = pid_of(served, "valkey-server")
        os.kill(first, signal.SIGKILL)
        assert served.chat().status_code == 200  # calls go on while it is away
        eventually(lambda: pid_of(served, "valkey-server") != first)
        assert served.chat().status_code == 200
        served.counted(5)
        served.command.tell(signal.SIGKILL)
        served.command.wait()
        nothing_runs_in(tmp_path)
    assert not trace_in(served)
    said = [event["event"] for event in served.command.events()]
    assert [each for each in said if "ended" in each] == [
        "gateway ended; starting it again in 0.1 s",
        "control ended; starting it again in 0.1 s",
        "Valkey ended; starting it again in 0.1 s",
    ]
    assert booked(tmp_path)["requests"] == 5


def stream(served: Served, delay_ms: int, tokens: int) -> Any:
    """A call whose reply takes `delay_ms` per token."""
    message = {"role": "user", "content": "two words"}
    return served.http.stream(
        "POST",
        served.gateway + CHAT,
        json={"model": "m", "messages": [message], "max_tokens": tokens, "stream": True},
        headers={"Authorization": f"Bearer {KEY}", "X-Stub-Delay-Ms": str(delay_ms)},
    )


def booked(folder: Path) -> dict[str, int]:
    """What the ledger holds per meter when the installation has stopped and is synced once more."""
    installation = Installation(load(folder / "tallygate.yaml", {}))
    with EmbeddedValkey(installation.data_dir):
        anyio.run(lambda: run_once(installation, close_now=False))
    engine = open_engine(sqlite_url(installation.data_dir / "ledger.db"))
    with reading(engine) as session:
        rows = session.exec(select(UsageWindow).where(UsageWindow.instance_id == "")).all()
    engine.dispose()
    return {row.meter: row.quantity for row in rows}


def test_a_stop_finishes_what_is_being_served_and_counts_it(tmp_path: Path, upstream: str) -> None:
    """SIGTERM in the middle of a stream: the customer gets all of it, and it is in the books."""
    with serve(tmp_path, configuration(upstream)) as served:
        with stream(served, delay_ms=100, tokens=10) as reply:
            lines = reply.iter_lines()
            next(lines)
            served.command.tell(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert served.command.wait() == 0
    nothing_runs_in(tmp_path)
    assert served.command.stderr == ""
    assert list((tmp_path / "var" / "run").iterdir()) == []
    found = booked(tmp_path)
    assert (found["requests"], found["tokens_in"], found["tokens_out"]) == (1, 2, 10)


def test_a_second_signal_waits_for_nobody(tmp_path: Path, upstream: str) -> None:
    """Ctrl-C twice: the customer is cut off, what he got is counted, and nothing is left running."""
    with serve(tmp_path, configuration(upstream)) as served:
        with stream(served, delay_ms=1000, tokens=100) as reply:
            lines = reply.iter_lines()
            next(lines)
            served.command.tell(signal.SIGINT)
            eventually(lambda: refuses(served))
            served.command.tell(signal.SIGINT)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        assert served.command.wait() == 0
    nothing_runs_in(tmp_path)
    assert not trace_in(served)
    assert booked(tmp_path)["requests"] == 1


def refuses(served: Served) -> bool:
    url = httpx.URL(served.gateway)
    try:
        socket.create_connection((url.host, url.port), timeout=1).close()
    except OSError:
        return True
    return False


def error_of(folder: Path, config: dict[str, Any]) -> str:
    """What `tallygate serve` says before it ends with 1; nothing is left running."""
    command = run("serve", "-c", str(write(folder, config)), folder=folder)
    nothing_runs_in(folder)
    assert (command.process.returncode, command.stdout) == (1, "")
    return command.stderr


def test_a_taken_port_is_one_clear_line(tmp_path: Path, upstream: str) -> None:
    """The address is named, whichever listener it is for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway = {"listen": ANY_PORT, "admin_listen": address}
        said = error_of(tmp_path, configuration(upstream, gateway=gateway))
    assert said == f"Error: cannot listen on {address}: Address already in use\n"


def test_a_redis_that_evicts_is_one_clear_line(tmp_path: Path, upstream: str) -> None:
    """Counters in it would vanish unseen."""
    with valkey_on_tcp(tmp_path, "--maxmemory-policy", "allkeys-lru") as url:
        said = error_of(tmp_path / "x", configuration(upstream, redis=url))
    assert said.startswith("Error: Redis has maxmemory-policy allkeys-lru")
    assert said.count("\n") == 1


def test_a_plane_that_cannot_start_ends_the_start(tmp_path: Path, upstream: str) -> None:
    """It says why itself; it is not started again and again."""
    gateway = {"listen": ANY_PORT, "admin_listen": ANY_PORT, "tls": {"cert": "c", "key": "k"}}
    said = error_of(tmp_path, configuration(upstream, gateway=gateway)).splitlines()
    assert said == [
        f"Error: tls: {tmp_path}/c and {tmp_path}/k cannot be used: No such file or directory",
        "Error: gateway did not start; it says why above",
    ]


def test_other_partitions_than_at_the_first_start_are_refused(
    tmp_path: Path, upstream: str
) -> None:
    """Customers would be looked for in the wrong place."""
    path = write(tmp_path, configuration(upstream, partitions=8))
    (tmp_path / "var").mkdir()
    first = open_engine(sqlite_url(tmp_path / "var" / "ledger.db"))
    ledger.set_up(first, 64, iter(Ids()))
    first.dispose()
    command = run("control", "-c", str(path), folder=tmp_path)
    assert command.process.returncode == 1
    last = command.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert "partitions" in last
    assert "Traceback" not in command.stderr


def test_a_killed_supervisors_children_are_given_a_moment(tmp_path: Path) -> None:
    """They announced themselves and still hold its addresses; without them it is said at once."""
    admin = f"127.0.0.1:{ports_in_a_row(1)}"
    config = configuration("http://u", gateway={"listen": ANY_PORT, "admin_listen": admin})
    installation = Installation(load(write(tmp_path, config), {}))
    left_over = bind_plane(ANY_PORT, admin)
    with left_over.public, left_over.admin:
        with pytest.raises(OSError, match=f"cannot listen on {admin}"):
            bound(installation)
        with announced(installation, "gateway", left_over, tls=False):
            letting_go = Timer(0.3, left_over.admin.close)
            letting_go.start()
            found = bound(installation)
    assert addresses(found["gateway"], tls=False)["admin"] == f"http://{admin}"
    for sockets in found.values():
        sockets.public.close()
        sockets.admin.close()
    letting_go.join()


def test_each_plane_runs_alone(tmp_path: Path, upstream: str) -> None:
    """`tallygate gateway` and `tallygate control` with a Redis that somebody else runs."""
    folder = tmp_path / "x"
    with valkey_on_tcp(tmp_path) as url, httpx.Client(trust_env=False) as http:
        config = str(write(folder, configuration(upstream, redis=url)))
        with (
            tallygate("gateway", "-c", config, folder=folder) as gateway,
            tallygate("control", "-c", config, folder=folder) as control,
        ):
            served = Served(folder, gateway, http)
            served.plane("control")
            assert served.chat().status_code == 200
            served.counted(1)
            assert (gateway.end(signal.SIGINT), control.end(signal.SIGTERM)) == (0, 0)
    assert (gateway.stderr, control.stderr) == ("", "")


def test_a_plane_alone_waits_for_the_embedded_redis(tmp_path: Path, upstream: str) -> None:
    """It says what it waits for, serves whom the configuration names, and counts when it comes."""
    path = write(tmp_path, configuration(upstream))
    with (
        httpx.Client(trust_env=False) as http,
        tallygate("gateway", "-c", str(path), folder=tmp_path) as gateway,
    ):
        served = Served(tmp_path, gateway, http)
        admin = served.plane("gateway")["admin"]
        assert served.chat().status_code == 200
        assert http.get(f"{admin}/-/readyz").status_code == 503
        assert "`tallygate serve` runs it; waiting for it" in gateway.stderr
        installation = Installation(load(path, {}))
        with EmbeddedValkey(installation.data_dir):
            eventually(lambda: http.get(f"{admin}/-/readyz").status_code == 200)
            anyio.run(lambda: run_once(installation, close_now=False))  # sets the ledger up
            eventually(lambda: http.get(f"{admin}/-/journal").json()["backlog"] == 0)
            assert gateway.end() == 0
    assert not trace_in(served)
