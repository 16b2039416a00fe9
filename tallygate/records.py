"""What `tallygate records` does: lists usage records, and enters what a person decides."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import click
from anyio import to_thread

from billing_sync.acting import Decision, perform
from billing_sync.asking import Page
from billing_sync.errors import BadQuestion, UnknownRecord, WrongState
from billing_sync.parts import Parts, new_id, push_log_of, set_up
from billing_sync.states import Act, State
from billing_sync.store import listing
from billing_sync.store.engine import reading
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.times import time_of

_SHOWN: Final = (
    "metering_sn",
    "state",
    "instance_id",
    "customer_id",
    "product_id",
    "begin",
    "end",
    "value",
    "relate_pkg_instance",
    "attempts",
    "code",
    "error",
    "sent_at",
    "collected_at",
    "confirmed_at",
    "release_by",
)


class Wanted(NamedTuple):
    """Which records are listed."""

    state: str | None
    instance_id: str | None
    limit: int


async def run_list(installation: Installation, wanted: Wanted, *, as_json: bool) -> None:
    """Print them. Raises UsageError for a state that does not exist."""
    if wanted.state is not None and wanted.state not in [state.value for state in State]:
        raise click.UsageError(f"--state {wanted.state}: write one of {', '.join(State)}")
    async with parts_of(installation) as parts:
        await to_thread.run_sync(set_up, parts)
        rows = await to_thread.run_sync(_rows, parts, wanted)
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(
            f"{row['metering_sn']}  {row['state']:<9}  {time_of(row['begin'])}  {row['instance_id']}  "
            f"{row['value']}  {row['error']}".rstrip()
        )


async def run_decide(
    installation: Installation,
    act: str,
    serials: Sequence[str],
    said: tuple[str, str],
    *,
    as_json: bool,
) -> None:
    """Do it for each record, and say so. Raises ClickException when one was not done,
    UsageError for a bad author or reason."""
    async with parts_of(installation) as parts:
        await to_thread.run_sync(set_up, parts)
        decisions = [Decision(Act(act), serial, *said) for serial in dict.fromkeys(serials)]
        answers = await to_thread.run_sync(_decide_all, parts, decisions)
    if as_json:
        click.echo(json.dumps([a | {"metering_sn": serial} for serial, a in answers.items()]))
    else:
        for serial, answer in answers.items():
            click.echo(f"{serial}  {answer.get('state') or answer['problem']}")
    failed = sum("problem" in answer for answer in answers.values())
    if failed:
        raise click.ClickException(f"{failed} of {len(answers)} records: not done")


def _rows(parts: Parts, wanted: Wanted) -> list[dict[str, Any]]:
    page = Page(None, wanted.instance_id, wanted.state, None, wanted.limit)
    with reading(parts.engine) as session:
        found = listing.records(session, page)
        return [{name: getattr(record, name) for name in _SHOWN} for record in found]


def _decide_all(parts: Parts, decisions: Sequence[Decision]) -> dict[str, dict[str, str]]:
    try:
        return {decision.metering_sn: _decide(parts, decision) for decision in decisions}
    except BadQuestion as problem:
        raise click.UsageError(str(problem)) from None


def _decide(parts: Parts, decision: Decision) -> dict[str, str]:
    act = partial(perform, act_id=new_id(), now_ms=parts.clock.now_ms())
    try:
        return {"state": act(parts.engine, push_log_of(parts), decision).state}
    except (UnknownRecord, WrongState) as problem:
        return {"problem": str(problem)}
