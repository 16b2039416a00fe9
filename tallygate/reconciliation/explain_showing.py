"""How an explanation looks as text. Pure."""

from collections.abc import Iterator

from billing_sync.models import UsageRecord
from metering.catalogue import AGENTS_ACCOUNTS
from metering.lanes import State
from tallygate.reconciliation.explaining import (
    Account,
    Booked,
    Charged,
    Hour,
    Placed,
    RecordExplained,
    RequestExplained,
    Stands,
)
from tallygate.reconciliation.tables import amount, counted, hour, number, table, time

_NO_RECORDS = "; only instances of the marketplace get records"
_STANDS = {
    Stands.JOURNAL: "in the journal alone, on its way to Redis",
    Stands.REDIS: "in Redis, on its way to the ledger",
    Stands.LEDGER: "in the ledger",
}


def request_lines(explained: RequestExplained) -> Iterator[str]:
    """A request, from its record up to its usage records."""
    yield f"request {explained.request_id}"
    for placed in explained.records:
        yield from _placed(placed)
    for each in explained.open:
        since = f"{time(each.request.started)}, lane {each.lane}"
        if each.state is State.LIVE:
            yield f"  is under way: route {each.request.route} since {since}; no record yet"
        else:
            yield f"  is uncertain: its process died; begun {since}"
    for finding in explained.findings:
        yield (
            f"  is named {finding.kind} in the ledger: customer {finding.customer_id}, "
            f"route {finding.route}, begun {time(finding.started)}, lane {finding.lane}"
        )


def _placed(placed: Placed) -> Iterator[str]:
    entry, host, state = placed.hit
    record = entry.record
    yield f"  record     number {entry.number} of lane {entry.lane} ({state}, {host})"
    yield (
        f"             {time(record.time_ms)}, route {record.route}, customer "
        f"{record.customer_id}, status {record.status}, {record.outcome}"
    )
    if record.repeat:
        yield "  repeat     its id had been counted shortly before; it counts all the same"
    for meter, (value, grade) in record.quantities.items():
        yield f"  used       {number(value)} {meter}, {grade}"
    if not record.quantities:
        yield "  used       nothing: its reply was an error"
    yield f"  stands     {_stands(placed)}"
    for charged in placed.charged:
        yield from _charged(charged, placed.stands)
    for assigned in placed.assigned:
        yield (
            f"  assigned   {number(assigned.quantity)} {assigned.meter} of its customer's hour to "
            f"instance {assigned.instance_id}, by a person"
        )


def _stands(placed: Placed) -> str:
    if placed.stands is not Stands.LEDGER:
        away = "" if placed.redis_read else "; Redis cannot be read beside the ledger now"
        return f"{_STANDS[placed.stands]}{away}"
    if placed.drain is None:
        return "in the ledger; its drain is no longer remembered"
    return f"in the ledger, by drain {placed.drain.id} at {time(placed.drain.at)}"


def _charged(charged: Charged, stands: Stands) -> Iterator[str]:
    used = f"{number(charged.quantity.value)} {charged.meter}"
    why = "" if charged.source == "koogallery" else _NO_RECORDS
    if charged.instance_id.startswith(AGENTS_ACCOUNTS):
        why = "; the close names it agents_gateway"
        yield f"  charged    {used} by KooGallery's Agents gateway: {charged.instance_id}"
    else:
        unknown = "" if charged.source else ", which the ledger does not know"
        yield f"  charged    {used} to instance {charged.instance_id}{unknown}"
    if stands is Stands.LEDGER:
        yield f"  booked     {' or '.join(map(_booked, charged.booked)) or 'nowhere'}"
    yield from _account(charged.account, why)


def _booked(place: Booked) -> str:
    return f"in the hour {hour(place.window)}{f', {place.mark}' if place.mark else ''}"


def _account(account: Account, why: str) -> Iterator[str]:
    for record, quantity in account.carried:
        yield (
            f"  recorded   {record.metering_sn} ({record.state}) carries {number(quantity)} of the "
            f"hour: {time(record.begin)} to {time(record.end)}, value {record.value}{_package(record)}"
        )
    if account.waiting:
        yield f"  recorded   {number(account.waiting)} of the hour wait for the next record"
    for name, quantity in sorted(account.buckets.items()):
        yield f"  recorded   {number(quantity)} of the hour it is billed in stand in bucket {name}"
    if account.unrecorded:
        yield f"  recorded   {number(account.unrecorded)} of the hour: not yet{why}"


def _package(record: UsageRecord) -> str:
    return f", package {record.relate_pkg_instance}" if record.relate_pkg_instance else ""


def record_lines(explained: RecordExplained) -> Iterator[str]:
    """A usage record, down to the calls behind it."""
    record = explained.record
    yield f"usage record {record.metering_sn}"
    yield (
        f"  of         instance {record.instance_id}, product {record.product_id}, "
        f"customer {record.customer_id}"
    )
    yield f"  interval   {time(record.begin)} to {time(record.end)}, hour {hour(record.window)}"
    yield (
        f"  says       {record.value}: {number(record.quantity)} {record.meter} by units of "
        f"{number(record.unit)}"
    )
    if explained.netted:
        said = f"{amount(explained.netted)} {record.meter} of remainders and adjustments"
        yield f"  netted     {said}"
    for each in explained.adjustments:
        yield f"  adjusted   {number(each.quantity)} by {each.author}, {time(each.at)}: {each.reason}"
    if record.relate_pkg_instance:
        yield f"  package    {record.relate_pkg_instance}"
    yield f"  state      {record.state}{f': {record.error}' if record.error else ''}"
    yield ""
    yield from _hours(explained)
    yield from _siblings(explained)
    yield from _calls(explained)


def _hours(explained: RecordExplained) -> Iterator[str]:
    titles = (
        "used in the hour",
        "calls",
        "journal",
        "Redis + ledger",
        "this record",
        "other records",
        "waiting",
        "not yet",
    )
    yield from table(titles, [_hour(each) for each in explained.hours])
    for name, quantity in sorted(explained.buckets.items()):
        yield f"  {number(quantity)} of these hours stand in bucket {name}"
    for package_id, quantity in sorted(explained.packages.items()):
        yield f"  {number(quantity)} billed in these hours were given by package {package_id}"
    assigned = sum(each.account.assigned for each in explained.hours)
    if assigned:
        yield f"  {number(assigned)} of these hours were assigned by a person: no call names them"
    if any(each.account.window < explained.covered_from for each in explained.hours):
        yield (
            "  the journals of this disk have everything only from "
            f"{hour(explained.covered_from)} on"
        )
    elif any(each.lacking for each in explained.hours):
        yield "  what the journals lack is not on this disk"
    if not explained.redis_read:
        yield "  Redis cannot be read beside the ledger now"


def _hour(one: Hour) -> tuple[str, ...]:
    account = one.account
    numbers = (one.calls, one.journal, account.held + one.pending, one.here, one.others)
    waiting = (account.waiting, account.unrecorded + one.pending)
    return (hour(account.window), *map(number, (*numbers, *waiting)))


def _siblings(explained: RecordExplained) -> Iterator[str]:
    siblings = explained.siblings
    if siblings:
        yield ""
        yield "other records of these hours"
        titles = ("record", "begin", "end", "quantity", "value", "state", "package")
        yield from table(
            titles,
            [
                (
                    each.metering_sn,
                    time(each.begin),
                    time(each.end),
                    number(each.quantity),
                    each.value,
                    each.state,
                    each.relate_pkg_instance,
                )
                for each in siblings
            ],
        )


def _calls(explained: RecordExplained) -> Iterator[str]:
    calls = sum(each.calls for each in explained.hours)
    yield ""
    yield f"{counted(calls, 'call')} in these hours; the first {number(len(explained.first))}"
    rows = []
    for entry in explained.first:
        value, grade = entry.record.quantities[explained.record.meter]
        said = (time(entry.record.time_ms), number(value), grade, entry.lane, number(entry.number))
        rows.append((entry.record.request_id, *said))
    if rows:
        yield from table(("request", "at", "quantity", "grade", "lane", "number"), rows)
