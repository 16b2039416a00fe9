"""Holds the books of a month against each other, to the ten-thousandth of a smallest unit. Pure.

served − uncertain = ledger = records + carry + buckets + unrecorded, and of the records those that
are sent = collected. What differs is a break, told with the books of its instance.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from tallygate.month.tally import Place

SCALE: Final = 10_000  # a record's value has four decimals
SENT: Final = frozenset({"sent", "collected", "confirmed"})
NOBODY: Final = "(no instance)"
_PLAIN: Final = (
    *("served", "uncertain", "ledger", "records", "collected"),
    *("carry", "unrecorded", "adjusted"),
)


class Record(NamedTuple):
    """A usage record of ours, or one that the marketplace collected; `steps` are of `SCALE`."""

    serial: str
    instance: str
    window: int
    steps: int
    state: str


@dataclass(frozen=True)
class Books:
    """What everybody says. Quantities are whole units of the meter, but for `steps` and `carry`."""

    served: Mapping[Place, int]
    uncertain: Mapping[Place, int]
    ledger: Mapping[Place, int]
    records: Sequence[Record]
    collected: Sequence[Record]
    carry: Mapping[str, int]  # by instance, of `SCALE`
    buckets: Mapping[tuple[str, int, str], int]  # by instance, window and name
    unrecorded: Mapping[tuple[str, int], int]  # by instance and window
    origins: Mapping[tuple[str, int], int]  # when what stands in records and carry was used
    products: Mapping[str, str]  # by instance
    adjusted: Mapping[str, int] = field(default_factory=dict)  # by instance: added by a person


class Break(NamedTuple):
    """Where the books differ: the window, the instance (or customer), and how."""

    window: int
    instance: str
    what: str


@dataclass(frozen=True)
class Row:
    """One product's totals, in steps."""

    product: str
    served: int = 0
    uncertain: int = 0
    ledger: int = 0
    records: int = 0
    collected: int = 0
    carry: int = 0
    waiting: Mapping[str, int] = field(default_factory=dict)  # not collected, by state
    buckets: Mapping[str, int] = field(default_factory=dict)
    unrecorded: int = 0
    adjusted: int = 0

    @property
    def difference(self) -> int:
        """What was served and stands nowhere (above zero), or stands somewhere too much."""
        found = self.collected + self.carry + self.unrecorded + self.uncertain
        found += sum(self.waiting.values()) + sum(self.buckets.values())
        return self.served + self.adjusted - found


def breaks(books: Books) -> list[Break]:
    """Every place where the books differ, the earliest window first."""
    found = [*_uncounted(books), *_pushed(books), *_unrecorded(books)]
    return sorted(found, key=lambda each: (each.window, each.instance))


def _uncounted(books: Books) -> Iterator[Break]:
    """What was served stands in the ledger, under the hour in which it was served."""
    for place in books.served.keys() | books.ledger.keys():
        served, unsure = books.served.get(place, 0), books.uncertain.get(place, 0)
        counted = books.ledger.get(place, 0)
        if served - unsure != counted:
            who = place.instance or place.customer
            text = f"{place.meter}: served {served}, uncertain {unsure}, in the ledger {counted}"
            yield Break(place.window, who, text)


def _pushed(books: Books) -> Iterator[Break]:
    """What we sent was collected once, with that value, and nothing else was."""
    ours = {record.serial: record for record in books.records}
    theirs = {record.serial: record for record in books.collected}
    for record in books.collected:
        mine = ours.get(record.serial)
        if mine is None or mine.state not in SENT or mine.steps != record.steps:
            said = "nothing" if mine is None else f"{mine.steps} steps, {mine.state}"
            text = f"record {record.serial}: collected {record.steps} steps, sent {said}"
            yield Break(record.window, record.instance, text)
    for record in books.records:
        if record.state in SENT and record.serial not in theirs:
            text = f"record {record.serial}: sent {record.steps} steps, not collected"
            yield Break(record.window, record.instance, text)
    if len(theirs) != len(books.collected):
        yield Break(0, "", "the marketplace collected one serial number twice")


def _unrecorded(books: Books) -> Iterator[Break]:
    """What is in the ledger stands in records, carry and buckets, or waits."""
    held = _by_instance(books)
    for instance, row in held.items():
        found = row.records + row.carry + row.unrecorded + sum(row.buckets.values())
        due = row.ledger + row.adjusted
        if instance and due != found:
            text = f"the ledger holds {due} steps, records and the rest {found}"
            yield Break(_first_window(books, instance), instance, text)


def _first_window(books: Books, instance: str) -> int:
    """The earliest window whose usage is not what records say of it; else the last record's."""
    left: Counter[int] = Counter()
    for place, quantity in books.ledger.items():
        if place.instance == instance:
            left[place.window] += quantity
    for parts in (books.origins, books.unrecorded):
        for (name, window), quantity in parts.items():
            if name == instance:
                left[window] -= quantity
    for (name, window, _), quantity in books.buckets.items():
        if name == instance:
            left[window] -= quantity
    wrong = [window for window, quantity in left.items() if quantity]
    last = max((r.window for r in books.records if r.instance == instance), default=0)
    return min(wrong, default=last)


class _Entry(NamedTuple):
    """Steps that belong into a column of an instance's row, there under a name if it has any."""

    instance: str
    column: str
    steps: int
    name: str = ""


def _by_instance(books: Books) -> dict[str, Row]:
    """The totals of each instance; of all customers' own totals under the empty name."""
    sums: dict[str, dict[str, Counter[str]]] = {}
    for entry in chain(_counted(books), _reported(books), _named(books)):
        columns = sums.setdefault(entry.instance, {})
        columns.setdefault(entry.column, Counter())[entry.name] += entry.steps
    return {instance: _row(instance, columns) for instance, columns in sums.items()}


def _counted(books: Books) -> Iterator[_Entry]:
    of = {"served": books.served, "uncertain": books.uncertain, "ledger": books.ledger}
    for column, places in of.items():
        for place, quantity in places.items():
            yield _Entry(place.instance, column, quantity * SCALE)


def _reported(books: Books) -> Iterator[_Entry]:
    taken = {record.serial for record in books.collected}
    for record in books.collected:
        yield _Entry(record.instance, "collected", record.steps)
    for record in books.records:
        yield _Entry(record.instance, "records", record.steps)
        if record.serial not in taken:
            yield _Entry(record.instance, "waiting", record.steps, record.state)


def _named(books: Books) -> Iterator[_Entry]:
    for instance, steps in books.carry.items():
        yield _Entry(instance, "carry", steps)
    for (instance, _, name), quantity in books.buckets.items():
        yield _Entry(instance, "buckets", quantity * SCALE, name)
    for (instance, _), quantity in books.unrecorded.items():
        yield _Entry(instance, "unrecorded", quantity * SCALE)
    for instance, quantity in books.adjusted.items():
        yield _Entry(instance, "adjusted", quantity * SCALE)


def _row(name: str, columns: Mapping[str, Counter[str]]) -> Row:
    plain = {c: sum(v.values()) for c, v in columns.items() if c not in ("waiting", "buckets")}
    empty: Counter[str] = Counter()
    waiting, buckets = columns.get("waiting", empty), columns.get("buckets", empty)
    return Row(name, waiting=dict(waiting), buckets=dict(buckets), **plain)


def rows(books: Books) -> list[Row]:
    """The totals of each product, by name; instances of nobody's product under `NOBODY`."""
    grouped: dict[str, list[Row]] = {}
    for instance, row in _by_instance(books).items():
        if instance:
            grouped.setdefault(books.products.get(instance, NOBODY), []).append(row)
    return [together(product, grouped[product]) for product in sorted(grouped)]


def together(name: str, many: Iterable[Row]) -> Row:
    """The sum of rows."""
    columns: dict[str, Counter[str]] = {}
    for row in many:
        for column in _PLAIN:
            columns.setdefault(column, Counter())[""] += getattr(row, column)
        columns.setdefault("waiting", Counter()).update(row.waiting)
        columns.setdefault("buckets", Counter()).update(row.buckets)
    return _row(name, columns)


def told(books: Books, instance: str) -> Iterator[str]:
    """The books of one instance, window by window, for whoever looks for the mistake."""
    row = _by_instance(books).get(instance)
    if row is None:
        return
    yield f"{instance} ({books.products.get(instance, NOBODY)}), in units of its meter:"
    windows = {
        p.window for p in books.served.keys() | books.ledger.keys() if p.instance == instance
    }
    windows |= {r.window for r in books.records if r.instance == instance}
    for window in sorted(windows):
        yield f"  window {window}: {', '.join(_of_window(books, instance, window))}"
    yield f"  carry {row.carry} steps, difference {row.difference} steps"


def _of_window(books: Books, instance: str, window: int) -> Iterator[str]:
    for name, places in (("served", books.served), ("ledger", books.ledger)):
        here = (q for p, q in places.items() if (p.instance, p.window) == (instance, window))
        yield f"{name} {sum(here)}"
    for record in books.records:
        if (record.instance, record.window) == (instance, window):
            yield f"record {record.serial} of {record.steps} steps, {record.state}"
    for (name, at, bucket), quantity in books.buckets.items():
        if (name, at) == (instance, window):
            yield f"{bucket} {quantity}"
