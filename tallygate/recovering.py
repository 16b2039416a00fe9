"""Puts back what a ledger restored from a backup lacks, and says what nobody can know here."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Final

import click
from anyio import to_thread

from billing_sync.parts import drainer_of, push_log_of, set_up
from billing_sync.recovery import Recovered
from billing_sync.recovery import recover as put_back
from metering import findings
from metering.counters import Counters
from metering.errors import MeteringError
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.times import time_of

_MOST_NAMED: Final = 20


async def run_recover(installation: Installation, *, as_json: bool, pass_over_damage: bool) -> None:
    """Recover, and print what was done. Raises BillingSyncError, SQLAlchemyError and OSError."""
    async with parts_of(installation) as parts:
        await to_thread.run_sync(set_up, parts)
        drainer = drainer_of(parts, Counters(parts.redis))
        # What Redis knows of the ledger must be known before billing is let go on.
        await drainer.drain_all(parts.partitions)
        if drainer.failure is not None:
            click.echo(
                f"not asked what Redis knows of the ledger ({drainer.failure}); should billing stop "
                "again, run this once more",
                err=True,
            )
        recovered = await to_thread.run_sync(
            partial(
                put_back,
                parts.engine,
                push_log_of(parts),
                parts.catalogue,
                parts.clock.now_ms(),
                terms=parts.alerts.terms,
                pass_over_damage=pass_over_damage,
            )
        )
        try:
            await findings.untake(parts.redis)
        except MeteringError as failure:
            click.echo(f"findings were not asked for again: {failure}", err=True)
    if as_json:
        click.echo(json.dumps(asdict(recovered)))
        return
    for line in told(recovered):
        click.echo(line)


def told(recovered: Recovered) -> Iterator[str]:
    """What was done, and what a person has to look after, in words."""
    yield f"the ledger was set back: {recovered.reason}"
    if recovered.sent or recovered.pending:
        yield (
            f"put back: {recovered.sent + recovered.pending} usage records of {recovered.batches} "
            f"batches, {time_of(recovered.first)} to {time_of(recovered.last)}; {recovered.sent} were "
            f"accepted by the marketplace, {recovered.pending} are pushed again as they were"
        )
    else:
        yield (
            "put back: nothing, the push log holds no record that the ledger lacks. If data_dir was "
            "restored together with the ledger, what was pushed in between is not known here: "
            "compare with the marketplace's own records"
        )
    if recovered.corrections:
        yield f"put back: {recovered.corrections} adjustments and assignments of suspense"
    if recovered.ahead:
        yield (
            f"still to come again from the lanes: {recovered.ahead} meter units of usage that is "
            "recorded already"
        )
    if recovered.acts:
        yield f"done again: {recovered.acts} decisions of persons about single records"
    yield from _unknown(recovered)
    yield "recording and pushing go on"


def _unknown(recovered: Recovered) -> Iterator[str]:
    if recovered.gap:
        yield (
            "not known here: batches pushed after the backup and before the push log begins; "
            "compare with the marketplace's own records"
        )
    if recovered.damaged:
        yield f"not known here: {len(recovered.damaged)} damaged lines of the push log"
    for name in recovered.unknown_instances[:_MOST_NAMED]:
        yield f"not known here: instance {name}, bought after the backup"
    if len(recovered.unknown_instances) > _MOST_NAMED:
        more = len(recovered.unknown_instances) - _MOST_NAMED
        yield f"not known here: {more} more instances"
    yield (
        "not known here: purchases, renewals, freezes and releases since the backup; compare the "
        "instances with the marketplace's"
    )
