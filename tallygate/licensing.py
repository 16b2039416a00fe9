"""What `tallygate licences` does: lists, tries again, and asks KooGallery about authorization codes."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from anyio import to_thread
from sqlmodel import Session

from billing_sync.asking import Page
from billing_sync.code_keeping import CodeDesk
from billing_sync.errors import BadEvent, UnknownLicence, WrongState
from billing_sync.koogallery.error_codes import Kind
from billing_sync.koogallery.licence_codes import CodeClient, CodeStanding
from billing_sync.licence_keeping import Keeper
from billing_sync.licence_models import Licence
from billing_sync.licence_retrying import retry, retry_rejected
from billing_sync.parts import Parts
from billing_sync.store import licence_listing as store
from billing_sync.store.engine import reading
from billing_sync.store.worker import SqlWorker
from tallygate.control_plane import parts_of
from tallygate.installation import Installation
from tallygate.invocation import Misused
from tallygate.reconciliation.opening import Stores, opened
from tallygate.times import time_of

MOST: Final = 1000  # of one page
# What a heartbeat says of a code that can be used; where it says nothing, it was accepted.
_ALIVE: Final = ("", "ALIVE")

Lister = Callable[[Session, Page], list[dict[str, Any]]]


async def run_list(installation: Installation, page: Page, *, as_json: bool) -> None:
    """Print licences, page by page. Raises NothingToReconcile without a ledger, and SQLAlchemyError."""
    await _print_pages(installation, page, store.listed, json.dumps if as_json else _licence_line)


async def run_codes(installation: Installation, page: Page, *, as_json: bool) -> None:
    """Print authorization codes. Raises as `run_list`."""
    await _print_pages(installation, page, store.codes, json.dumps if as_json else _code_line)


async def run_retry(installation: Installation, ids: Sequence[str], *, as_json: bool) -> None:
    """Work on these again, or on all that were refused or rejected. Raises ClickException when with
    one of them there was nothing to do."""
    async with opened(installation) as stores:
        answers = await to_thread.run_sync(_again, stores, list(dict.fromkeys(ids)))
    for answer in [json.dumps(answers)] if as_json else map(_answer_line, answers):
        click.echo(answer)
    failed = sum("problem" in answer for answer in answers)
    if failed:
        raise click.ClickException(f"{failed} of {len(answers)} licences: nothing to do")


async def run_save(installation: Installation, licence_id: str, path: Path) -> None:
    """Write a licence to a new file. Raises Misused where there is none, or the file is there."""
    async with opened(installation) as stores:
        row = await to_thread.run_sync(_one, stores, licence_id)
    if row is None or not row.sealed:
        raise Misused("no licence of this id is kept here; `tallygate licences list` shows them")
    content = Keeper(installation.secret(), os.urandom).made(row).content
    _write(path, content)
    click.echo(f"Wrote {path}")


def _write(path: Path, content: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as problem:
        raise Misused(str(problem)) from None
    with open(handle, "wb") as file:
        file.write(content)


def _one(stores: Stores, licence_id: str) -> Licence | None:
    with reading(stores.engine) as session:
        return session.get(Licence, licence_id) if licence_id.isprintable() else None


async def run_activate(installation: Installation, code: str, *, as_json: bool) -> None:
    """Activate a code and remember it. Raises Misused and ClickException."""
    await _about(installation, code, activated=True, as_json=as_json)


async def run_heartbeat(installation: Installation, code: str, *, as_json: bool) -> None:
    """Ask about a code and remember it. Raises Misused and ClickException."""
    await _about(installation, code, activated=False, as_json=as_json)


async def _print_pages(
    installation: Installation, page: Page, lister: Lister, line: Callable[[dict[str, Any]], str]
) -> None:
    async with opened(installation) as stores:
        while rows := await to_thread.run_sync(_read, stores, lister, page):
            for row in rows:
                click.echo(line(row))
            page = page._replace(after=rows[-1]["id"])


def _read(stores: Stores, lister: Lister, page: Page) -> list[dict[str, Any]]:
    with reading(stores.engine) as session:
        return lister(session, page)


def _again(stores: Stores, ids: Sequence[str]) -> list[dict[str, Any]]:
    now_ms = stores.clock.now_ms()
    if not ids:
        return [{"id": each} for each in retry_rejected(stores.engine, now_ms)]
    answers: list[dict[str, Any]] = []
    for each in ids:
        try:
            answers.append({"id": each, "state": retry(stores.engine, each, now_ms)})
        except (UnknownLicence, WrongState) as problem:
            answers.append({"id": each, "problem": str(problem)})
    return answers


async def _about(installation: Installation, code: str, *, activated: bool, as_json: bool) -> None:
    async with parts_of(installation) as parts:
        client = CodeClient(parts.http, parts.koogallery, parts.clock)
        try:
            said = await (client.activate if activated else client.heartbeat)(code)
        except BadEvent as problem:
            raise Misused(str(problem).replace("license", "CODE")) from None
        known = None
        if said.kind is Kind.ACCEPTED:
            row = await _desk(parts).learn(code, said, activated=activated)
            known = row.id
    _say(said, known, as_json=as_json)


def _desk(parts: Parts) -> CodeDesk:
    return CodeDesk(SqlWorker(parts.engine), Keeper(parts.secret, os.urandom), parts.clock)


def _say(said: CodeStanding, known: str | None, *, as_json: bool) -> None:
    usable = said.kind is Kind.ACCEPTED and said.status in _ALIVE
    if as_json:
        click.echo(json.dumps({"id": known, "usable": usable} | asdict(said)))
    elif said.kind is Kind.ACCEPTED:
        until = f"until {time_of(said.expires)}" if said.expires else "no end told"
        status = said.status or "accepted"
        click.echo(f"{known}  {status}  {until}  {said.product_id}  {said.order_id}".rstrip())
    if not usable:
        raise click.ClickException(
            f"{said.kind}: {said.code} {said.message}".rstrip()
            if said.kind is not Kind.ACCEPTED
            else f"the code is {said.status}"
        )


def _licence_line(row: dict[str, Any]) -> str:
    until = time_of(row["expires"]) if row["expires"] else "never expires"
    line = (
        f"{row['id']}  {time_of(row['received_at'])}  {row['state']}  {row['customer_id'] or '-'}  "
        f"{row['instance_id']}  {row['event_id']}  {until}  {row['kind']} {row['file_name']}"
    )
    return f"{line.rstrip()}  {row['code']} {row['error']}".rstrip()


def _code_line(row: dict[str, Any]) -> str:
    until = time_of(row["expires"]) if row["expires"] else "no end told"
    return f"{row['id']}  {row['shown']}  {row['status']}  {until}  {row['product_id'] or '-'}"


def _answer_line(answer: dict[str, Any]) -> str:
    return f"{answer['id']}  {answer.get('problem') or answer.get('state') or 'again'}"
