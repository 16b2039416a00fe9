"""Collects the evidence of a drill from every place that counts: upstream, customers, journal, API."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from anyio import to_thread

from metering.deltas import deltas_of
from metering.lanes import Entry, lanes_in
from metering.usage import Grade, Outcome
from tallygate.drills.judging import Answered, Evidence, Item, Recorded, Unexplained
from tallygate.drills.results import TOKENS
from tallygate.drills.stage import Stage

_FINDINGS_A_PAGE: Final = "1000"


async def collect(stage: Stage) -> Evidence | None:
    """All there is at this moment; None while one of the places does not answer."""
    answered, twice = await read_answers(stage.http, stage.upstream)
    records = await to_thread.run_sync(read_records, stage.data_dir / "journal")
    findings = await read_findings(stage)
    counted = await read_counts(stage)
    if counted is None or findings is None:
        return None
    config, books = stage.installation.config, stage.load.books
    return Evidence(
        answered=answered,
        seen=dict(books.complete),
        records=records,
        counted=counted,
        partitions=config.partitions,
        answered_twice=frozenset(twice),
        refused=frozenset(books.refused_ids),
        uncertain=frozenset(f["request_id"] for f in findings if f["kind"] == "uncertain"),
        unexplained=tuple(_unexplained(f) for f in findings if f["kind"] == "unexplained"),
        lost_lanes=tuple(f["lane"] for f in findings if f["kind"] == "lost_lane"),
        unsynced=frozenset(stage.unsynced),
        fsync_always=config.gateway.journal.fsync == "always",
    )


def _unexplained(finding: Mapping[str, Any]) -> Unexplained:
    return Unexplained(finding["lane"], finding["partition"], finding["first"], finding["last"])


async def read_answers(
    http: httpx.AsyncClient, upstream: str
) -> tuple[dict[str, Answered], set[str]]:
    """What the upstream answered, by request id, and the ids that came twice.

    Raises ValueError when it has forgotten some.
    """
    found: dict[str, Answered] = {}
    twice: set[str] = set()
    after: int | None = 0
    while after is not None:
        reply = await http.get(f"{upstream}/_stub/requests", params={"after": after})
        page = reply.raise_for_status().json()
        if page["forgotten"]:
            raise ValueError(f"the stub upstream has forgotten {page['forgotten']} requests")
        for entry in page["requests"]:
            if entry["request_id"] in found:
                twice.add(entry["request_id"])
            found[entry["request_id"]] = Answered(
                entry["customer_id"], entry["tokens_in"], entry["tokens_out"], entry["complete"]
            )
        after = page["next"]
    return found, twice


def read_records(journal: Path) -> list[Recorded]:
    """Every record of every lane, the audit trail included."""
    return [_recorded(entry) for lane in lanes_in(journal) for entry in lane.entries()]


def _recorded(entry: Entry) -> Recorded:
    record = entry.record
    return Recorded(
        request_id=record.request_id,
        lane=entry.lane,
        number=entry.number,
        time_ms=record.time_ms,
        customer_id=record.customer_id,
        complete=record.outcome is Outcome.COMPLETE,
        quantities={meter: quantity.value for meter, quantity in record.quantities.items()},
        amounts={
            Item(key.customer_id, key.instance_id, key.meter): value
            for key, value in deltas_of(record)
            if value
        },
        exact=all(
            record.quantities[meter].grade is Grade.EXACT
            for meter in TOKENS
            if meter in record.quantities
        ),
    )


async def read_counts(stage: Stage) -> dict[Item, int] | None:
    """Ledger and Redis together, by the usage API; None while it does not answer."""
    totals = await stage.ask("usage", by="customer,meter")
    charged = await stage.ask("usage", by="customer,instance,meter")
    if totals is None or charged is None:
        return None
    rows = [*totals["data"], *(row for row in charged["data"] if row["instance_id"])]
    return {
        Item(row["customer_id"], row["instance_id"] or "", row["meter"]): int(row["quantity"])
        for row in rows
        if int(row["quantity"])
    }


async def read_findings(stage: Stage) -> list[dict[str, Any]] | None:
    """Every finding of the installation; None while the API does not answer."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = await stage.ask("findings", limit=_FINDINGS_A_PAGE, **after)
        if page is None:
            return None
        found += page["data"]
        if page["next"] is None:
            return found
        after = {"after": str(page["next"])}
