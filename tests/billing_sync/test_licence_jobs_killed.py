"""Licences under `kill -9`: whatever step it was, one licence, delivered, and never another."""

import pytest
from sqlalchemy import Engine

from tests.billing_sync.dying import killed_at
from tests.billing_sync.licensing import KEEPER, Shop, file_api, rows, states
from tests.billing_sync.licensing_process import STEPS

pytestmark = pytest.mark.anyio


@pytest.fixture
def database_kind() -> str:
    """The SQL of it is tested on both kinds in test_licence_jobs.py."""
    return "sqlite"


@pytest.mark.parametrize(
    ("step", "state", "made_again", "uploads"),
    [
        ("claimed", "making", 1, 0),
        ("made", "making", 1, 0),
        ("stored", "uploading", 0, 0),
        ("claimed again", "uploading", 0, 0),
        ("uploaded", "uploading", 0, 1),
        ("confirmed", "delivered", 0, 1),
    ],
)
async def test_killed_after(
    engine: Engine, step: str, state: str, made_again: int, uploads: int
) -> None:
    """The next process goes on; what the marketplace sees is one licence, and so is what we keep."""
    assert step in STEPS
    with file_api() as (api, server):
        killed_at("licensing_process", engine, step, server.url)
        assert states(engine) == {state: 1}
        assert len(api.uploads) == uploads
        heir = Shop(engine, server.url)
        heir.clock.advance(seconds=3600)
        await heir.work()
        await heir.http.aclose()
        assert states(engine) == {"delivered": 1}
        assert len(heir.maker.requests) == made_again
        (row,) = rows(engine)
        assert {file for _, _, file in api.uploads} == {KEEPER.made(row).content}
        assert len(api.uploads) == (2 if step == "uploaded" else 1)
        repeat = {
            "instanceId": row.instance_id,
            "eventId": row.event_id,
            "deviceFingerprint": "mac-1",
            "effectiveTime": "2026-10-01 00:00:00 z",
        }
        assert (await heir.call("getLicenseAsync", **repeat))["resultCode"] == "000000"
        assert len(rows(engine)) == 1
