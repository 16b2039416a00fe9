"""Metrics of what the marketplace's side waits for a person, or for the marketplace, to say."""

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlmodel import Session

from billing_sync.store import awaited, erasing, mappings
from metering.catalogue import Catalogue


class Standing(NamedTuple):
    """How the ledger stands: unmapped product ids, instances and renewals under them, awaited orders
    by kind, and instances whose buyers' data were erased."""

    products: int
    waiting: int
    awaited: dict[str, int]
    erased: int


def standing(session: Session, catalogue: Catalogue) -> Standing:
    """Look."""
    unmapped = mappings.unmapped(session, catalogue)
    waiting = sum(each.instances + each.renewals for each in unmapped)
    return Standing(len(unmapped), waiting, awaited.waiting(session), erasing.count(session))


def families(figures: Standing) -> Iterable[Metric]:
    """The same as metrics."""
    yield GaugeMetricFamily(
        "billing_sync_unmapped_products",
        "Product ids that were sold and are neither configured nor mapped.",
        value=figures.products,
    )
    yield GaugeMetricFamily(
        "billing_sync_unmapped_instances",
        "Instances and renewals that wait under such an id.",
        value=figures.waiting,
    )
    orders = GaugeMetricFamily(
        "billing_sync_awaited_orders",
        "Orders that order query has still to tell: renewals that change the product, notices.",
        labels=["kind"],
    )
    for kind, count in figures.awaited.items():
        orders.add_metric([kind], count)
    yield orders
    erased = CounterMetricFamily(
        "billing_sync_instances_erased", "Released instances whose buyers' data were erased."
    )
    erased.add_metric([], figures.erased)
    yield erased
