"""`tallygate tenants` as it is typed, over a ledger in a file and a Redis that is away."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from billing_sync.kit_models import KitApp, KitOrg, KitTenant, KitUser
from billing_sync.store import ledger
from billing_sync.store.engine import open_engine, sqlite_url, writing
from tallygate.tenants_command import tenants
from tests.fakes import Ids
from tests.tallygate.commands import CONFIG


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A configuration, and a ledger with three tenants of whom one was deleted."""
    path = tmp_path / "tallygate.yaml"
    path.write_text(CONFIG.format(var=tmp_path / "var"))
    (tmp_path / "var").mkdir()
    engine = open_engine(sqlite_url(tmp_path / "var" / "ledger.db"))
    ledger.set_up(engine, 1, iter(Ids()), 1)
    key: dict[str, Any] = {"tenant_id": "t-1"}
    with writing(engine) as session:
        for instance in ("", "i-1"):
            key["instance_id"] = instance
            session.add(KitTenant(**key, granted=1_790_000_000_000, code="acme", name="Acme"))
            session.add(KitApp(**key, app_id="a", granted=1, client_id="c", sealed_secret="box"))
            session.add(KitUser(**key, app_id="a", user_name="li", granted=1, enabled=True))
        session.add(KitTenant(instance_id="i-1", tenant_id="gone", granted=1, revoked=2))
        session.add(
            KitOrg(instance_id="i-1", tenant_id="t-1", org_code="o", granted=1_790_000_000_001)
        )
        session.add(KitUser(**key, app_id="a", user_name="off", granted=1))
        session.add(KitUser(**key, app_id="a", user_name="ex", granted=1, revoked=2, enabled=True))
    engine.dispose()
    return path


def typed(place: Path, *words: str) -> Result:
    return CliRunner().invoke(tenants, ["list", *words, "-c", str(place)])


def test_the_list(place: Path) -> None:
    """Whose people there are; who was deleted or switched off is not counted."""
    said = typed(place)
    assert (said.exit_code, said.stderr) == (0, "")
    people = "since 2026-09-21T14:13:20Z: applications a; 1 people"
    assert said.stdout.splitlines() == [
        f"t-1 (acme, Acme) of no instance yet {people}, 0 organisations",
        f"t-1 (acme, Acme) of instance i-1 {people}, 1 organisations",
    ]
    (line,) = typed(place, "--json", "--instance", "i-1").stdout.splitlines()
    assert json.loads(line) == {
        "instance_id": "i-1",
        "tenant_id": "t-1",
        "code": "acme",
        "name": "Acme",
        "domain_name": "",
        "since": 1_790_000_000_000,
        "apps": [{"app_id": "a", "client_id": "c"}],
        "users": 1,
        "organisations": 1,
    }


def test_nobody(place: Path) -> None:
    """An instance without tenants prints nothing."""
    said = typed(place, "--instance", "other")
    assert (said.exit_code, said.stdout) == (0, "")
