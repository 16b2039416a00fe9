"""`tallygate doctor` against `tallygate serve`: all cases pass, and planted defects are named."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from tallygate.cli import cli
from tests.installations import Served, configuration, serve
from tests.tallygate.doctor.defective import Defect, Reply, defective
from tests.tallygate.simulator.kit_merchant import KIT_KEY, PRIVATE_PEM

KEY = "key-of-the-base-interface"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A whole installation whose upstream can be reached, and that sells everything."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "kit.pem").write_bytes(PRIVATE_PEM)
    (folder / "kit.pem").chmod(0o600)
    koogallery: dict[str, Any] = {
        "access_key": KEY,
        "kit_key": KIT_KEY,
        "private_key_file": "kit.pem",
    }
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        address = f"http://127.0.0.1:{upstream.getsockname()[1]}"
        config = configuration(address, koogallery=koogallery)
        config["products"].append({"product_id": "LICENCE", "licence": {"kind": "made"}})
        koogallery["licence"] = {"maker": "tallygate.sample_licences:make"}
        with serve(folder, config) as installation:
            yield installation


def doctor(*words: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *words])


def report(served: Served, *words: str) -> tuple[dict[str, Any], int]:
    """What the doctor says of the installation, and its exit code."""
    path = served.folder / "tallygate.yaml"
    result = doctor("-c", str(path), "--json", *words)
    assert result.output.startswith("{"), result.output
    said: dict[str, Any] = json.loads(result.output)
    return said, result.exit_code


def findings(said: dict[str, Any]) -> dict[str, str]:
    """Messages of the cases, with what the marketplace would show."""
    return {
        finding["message"]: finding["shown"]
        for case in said["cases"]
        for finding in case["findings"]
    }


def test_all_cases_pass(served: Served) -> None:
    """Of every interface, and nothing is left of them in the ledger."""
    said, code = report(served)
    assert findings(said) == {}
    assert code == 0
    versions = {case["version"] for case in said["cases"]}
    assert versions == {"V2.0", "V1.0", "License", "Kit V2", "Kit V1"}
    assert {"applicationSync", "getLicense", "getLicenseAsync"} <= {
        case["activity"] for case in said["cases"]
    }
    assert not [check for check in said["checks"] if "left out" in check["text"]]
    assert not [check for check in said["checks"] if check["state"] == "finding"]
    assert KEY not in json.dumps(said)
    assert KIT_KEY not in json.dumps(said)
    engine = create_engine(f"sqlite:///{served.folder}/var/ledger.db")
    with engine.connect() as connection:
        unwritten = dict.fromkeys(("lifecycle_inbox", "order_line", "licence", "kit_tenant"), 0)
        for table, expected in {**unwritten, "instance": 1}.items():
            count = connection.execute(text(f"select count(*) from {table}")).scalar()
            assert count == expected, table  # the instance is the configuration's own
    engine.dispose()


def in_small_letters(reply: Reply) -> None:
    reply.sign_name = "body-sign"


def without_message(reply: Reply) -> None:
    body = json.loads(reply.body)
    del body["resultMsg"]
    reply.body = json.dumps(body).encode()


def in_process(reply: Reply) -> None:
    if reply.activity == "newInstance":
        reply.body = reply.body.replace(b'"000000"', b'"000004"')


def another_space(reply: Reply) -> None:
    reply.body = reply.body.replace(b",", b", ")


def of_html(reply: Reply) -> None:
    reply.content_type = "text/html"


def with_a_status(reply: Reply) -> None:
    if b'"000000"' not in reply.body:
        reply.status = 400


def without_time(reply: Reply) -> None:
    reply.body = reply.body.replace(b'"statisticalTime"', b'"time"')


def without_id(reply: Reply) -> None:
    if reply.activity == "newInstance":
        reply.body = reply.body.replace(b'"instanceId"', b'"InstanceId"')


@pytest.mark.parametrize(
    ("defect", "version", "message", "shown"),
    [
        (in_small_letters, "V1.0", "body-sign is spelt wrongly: write Body-Sign", "signature"),
        (without_message, "V2.0", "resultMsg is missing", "parse failed"),
        (without_message, "V1.0", "resultMsg is missing", "parse failed"),
        (in_process, "V2.0", "an error: 000004", "interface returned an error"),
        (in_process, "V1.0", "an error: 000004", "interface returned an error"),
        (another_space, "V1.0", "does not fit the bytes", "signature check"),
        (of_html, "V2.0", "content type is 'text/html'", "content type wrong"),
        (with_a_status, "V2.0", "httpCode=400", "httpCode=400"),
        (without_time, "V2.0", "statisticalTime is missing", "reply lacks statisticalTime"),
        (without_id, "V2.0", "instanceId is missing", "reply lacks instanceId"),
    ],
)
def test_a_planted_defect_is_named(
    served: Served, defect: Defect, version: str, message: str, shown: str
) -> None:
    """In the marketplace's own words; exit code 1."""
    behind = served.plane("control")["public"] + "/koogallery"
    with defective(behind, defect) as url:
        said, code = report(served, "--url", url, "--version", version)
    assert code == 1
    found = {text: words for text, words in findings(said).items() if message in text}
    assert found
    assert all(shown in words for words in found.values())


def test_the_report_for_people(served: Served) -> None:
    """A table in which the wrong reply stands, and a summary."""
    behind = served.plane("control")["public"] + "/koogallery"
    path = served.folder / "tallygate.yaml"
    with defective(behind, in_small_letters) as url:
        result = doctor("-c", str(path), "--url", url, "--version", "V1.0", "--seed", "7")
    assert result.exit_code == 1
    assert "KooGallery would say" in result.output
    assert "seed 7" in result.output
    assert "signature check: body-sign is spelt wrongly" in result.output
    assert "more cases" in result.output
    assert result.output.endswith("1 finding\n")


def test_debug_only_sends_no_real_call(served: Served) -> None:
    """For those who have reason to fear one."""
    said, _ = report(served, "--debug-only", "--version", "V1.0")
    assert "unknown instance" not in {case["case"] for case in said["cases"]}


def test_without_a_configuration(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's system is examined with the key of the environment."""
    url = served.plane("control")["public"] + "/koogallery"
    monkeypatch.setenv("KOO_ACCESS_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    result = doctor("--url", url, "--version", "V1.0", "--json")
    assert result.exit_code == 0, result.output
    assert [check["about"] for check in json.loads(result.output)["checks"]] == ["address"]


def test_a_wrong_key_is_seen(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call is refused then."""
    url = served.plane("control")["public"] + "/koogallery"
    monkeypatch.setenv("KOO_ACCESS_KEY", "another")
    monkeypatch.chdir(tmp_path)
    result = doctor("--url", url, "--version", "V2.0")
    assert result.exit_code == 1
    assert "000001" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "tallygate.yaml"),
        (("--url", "ftp://x"), "must begin with http"),
        (("-c", "missing.yaml", "--url", "http://127.0.0.1:1"), "missing.yaml"),
    ],
)
def test_wrong_usage(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, exit code 2."""
    monkeypatch.setenv("KOO_ACCESS_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    result = doctor(*words)
    assert result.exit_code == 2
    assert said in result.output


def test_without_any_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which one is missing, and how to give it."""
    monkeypatch.delenv("KOO_ACCESS_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    result = doctor("--url", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "set KOO_ACCESS_KEY" in result.output


def test_nobody_at_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not try two hundred cases to say so."""
    monkeypatch.setenv("KOO_ACCESS_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    result = doctor("--url", "http://127.0.0.1:1/koogallery")
    assert result.exit_code == 1
    assert "production address unreachable" in result.output
