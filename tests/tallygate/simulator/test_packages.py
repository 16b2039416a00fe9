"""Which package pays for a record, and what is left of it."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.simulator.models import Instance, Kind, OrderLine, Product
from tallygate.simulator.packages import PackageBook
from tallygate.simulator.sdr import Refused, Sdr, read_sdr
from tests.tallygate.simulator.stage import NOW_MS, record

CHAT = Product("chat", "Chat", Kind.ON_DEMAND)
PACK = Product("pack", "Pack", Kind.ON_DEMAND_PKG, covers=frozenset({"chat"}))
STOP = replace(PACK, product_id="stop", stop_before_excess=True)
DAY_MS = 86_400_000


def instance(product: Product = CHAT, instance_id: str = "i-1", **changes: Any) -> Instance:
    return replace(
        Instance(instance_id, "CS1", f"CS1-{instance_id}", product, "cust-1", NOW_MS), **changes
    )


def quota(product: Product, units: str) -> Product:
    return replace(product, quotas={"chat": Decimal(units)})


class Scene:
    """One pay-per-use instance and the packages of its buyer."""

    def __init__(self, *packages: Instance) -> None:
        self.mine = instance()
        self.known = {each.instance_id: each for each in (self.mine, *packages)}
        self.book = PackageBook()
        for package in packages:
            if package.product.kind is Kind.ON_DEMAND_PKG:
                self.book.add(package)

    def refusal(self, usage: str = "1.5", begin_s: int = 0, package: str | None = None) -> str:
        """Why a record is refused; a good one is reserved."""
        sdr = of(usage, begin_s, package)
        try:
            self.book.judge(sdr, self.mine, self.known)
        except Refused as reason:
            return str(reason)
        self.book.reserve(sdr, self.mine, self.known)
        return ""

    def deduct(self, usage: str, begin_s: int = 0, package: str | None = None) -> dict[str, str]:
        paid = self.book.deduct(of(usage, begin_s, package), self.mine, self.known)
        return {package_id: str(part) for package_id, part in paid}


def of(usage: str, begin_s: int, package: str | None) -> Sdr:
    return read_sdr(record("i-1", begin_s, usage_value=usage, relate_pkg_instance=package))


def test_related_package():
    """A package of the same buyer, with quota for this product."""
    assert Scene(instance(PACK, "p-1")).refusal(package="p-1") == ""
    assert Scene().refusal() == ""


@pytest.mark.parametrize(
    ("reason", "other"),
    [
        ("not a package", instance(CHAT, "p-1")),
        ("not a package", instance(PACK, "p-2")),
        ("another buyer", instance(PACK, "p-1", customer_id="cust-2")),
        ("no quota", instance(replace(PACK, covers=frozenset({"speech"})), "p-1")),
        ("exceeded: 1.4999 is left", instance(quota(STOP, "1.4999"), "p-1")),
    ],
)
def test_wrong_package(reason, other):
    """Any other relation is refused."""
    assert reason in Scene(other).refusal(package="p-1")


@pytest.mark.parametrize(
    "changes",
    [{"expires_ms": NOW_MS}, {"closed_ms": NOW_MS - 1}, {"started_ms": NOW_MS + 61_000}],
)
def test_package_not_held(changes):
    """Noted, not refused; one that was held for a moment is not even noted."""
    for package, noted in (
        (instance(STOP, "p-1", **changes), True),
        (instance(STOP, "p-1"), False),
    ):
        scene = Scene(package)
        finding = scene.book.judge(of("1", 0, "p-1"), scene.mine, scene.known)
        assert (finding is not None) == noted


def test_stop_before_excess_must_be_named():
    """Who holds such a package is charged to it, and to no other, be it empty."""
    assert "stop-before-excess" in Scene(instance(STOP, "p-1")).refusal()
    assert "stop-before-excess" in Scene(instance(quota(STOP, "0"), "p-1")).refusal()
    assert Scene(instance(STOP, "p-1")).refusal(package="p-1") == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"started_ms": NOW_MS + 1},
        {"closed_ms": NOW_MS + 1},
        {"expires_ms": NOW_MS + 1},
        {"frozen": True},
        {"customer_id": "cust-2"},
        {"product": replace(STOP, covers=frozenset({"speech"}))},
    ],
)
def test_stop_before_excess_need_not_be_named(changes):
    """One not held for the whole interval, of another buyer or for other things."""
    assert Scene(instance(**{"product": STOP, "instance_id": "p-1", **changes})).refusal() == ""


def test_quota_of_a_stop_package_is_never_exceeded():
    """Valid records count at once, before their collection."""
    scene = Scene(instance(quota(STOP, "2"), "p-1"))
    assert scene.refusal("1.5", 0, "p-1") == ""
    assert "0.5 is left" in scene.refusal("0.5001", 60, "p-1")
    assert scene.refusal("0.5", 60, "p-1") == ""
    assert "0.0 is left" in scene.refusal("0.0001", 120, "p-1")


def test_quantity_multiplies_the_quota():
    """What the buyer chose as linearValue."""
    scene = Scene(instance(quota(STOP, "2"), "p-1", quantity=3))
    assert scene.refusal("6", 0, "p-1") == ""
    assert scene.refusal("0.0001", 60, "p-1") != ""


def test_stop_package_pays_for_what_names_it():
    """All of it, and the ordinary package nothing."""
    scene = Scene(instance(STOP, "p-1"), instance(quota(PACK, "9"), "p-2"))
    assert scene.deduct("1.5", package="p-1") == {"p-1": "1.5"}
    assert scene.deduct("1.5") == {"p-2": "1.5"}


def test_earliest_expiry_pays_first():
    """Then the oldest; without expiry comes last; the excess is pay-per-use."""
    scene = Scene(
        instance(quota(PACK, "1"), "endless"),
        instance(quota(PACK, "1"), "later", expires_ms=NOW_MS + 2 * DAY_MS),
        instance(quota(PACK, "1"), "young", expires_ms=NOW_MS + DAY_MS),
        instance(quota(PACK, "1"), "old", expires_ms=NOW_MS + DAY_MS, started_ms=NOW_MS - 1),
    )
    paid = [scene.deduct("1", second) for second in range(4)]
    assert paid == [{"old": "1"}, {"young": "1"}, {"later": "1"}, {"endless": "1"}]
    assert scene.deduct("1", 5) == {}


def test_one_record_over_two_packages():
    """What the first cannot pay the next one does."""
    first = instance(quota(PACK, "1"), "p-1", expires_ms=NOW_MS + DAY_MS)
    scene = Scene(first, instance(quota(PACK, "1"), "p-2"))
    assert scene.deduct("2.5") == {"p-1": "1", "p-2": "1"}
    assert scene.book.as_json() == {"p-1": {"chat": "1"}, "p-2": {"chat": "1"}}


def test_named_ordinary_package():
    """It pays, and no other one."""
    scene = Scene(instance(quota(PACK, "1"), "p-1"), instance(quota(PACK, "1"), "p-2"))
    assert scene.deduct("1.5", package="p-2") == {"p-2": "1"}


@pytest.mark.parametrize("changes", [{"frozen": True}, {"expires_ms": NOW_MS}])
def test_package_that_cannot_pay(changes):
    """Frozen, or expired before the record began."""
    assert Scene(instance(PACK, "p-1", **changes)).deduct("1") == {}


def test_package_for_what_the_instance_was():
    """After an upgrade, earlier usage still belongs to the former product."""
    scene = Scene(instance(PACK, "p-1"))
    scene.mine.become(OrderLine("CS2-000001", replace(CHAT, product_id="more")), NOW_MS + 60_000)
    assert scene.deduct("1") == {"p-1": "1"}
    assert scene.deduct("1", 60) == {}


UNITS = st.decimals("0.0001", "20", places=4)
PACKAGES = st.lists(
    st.tuples(
        st.decimals("0", "30", places=4),
        st.none() | st.integers(0, 100),
        st.integers(0, 50),
        st.booleans(),
    ),
    max_size=6,
)


@given(PACKAGES, st.lists(st.tuples(st.integers(0, 90), UNITS), max_size=30))
def test_deduction(bought, used):
    """Paid + rest = used; no quota is exceeded; only what is empty or not held leaves a rest."""
    packages = [
        instance(
            quota(PACK, str(units)),
            f"p-{number}",
            started_ms=NOW_MS + start * 1000,
            expires_ms=None if expiry is None else NOW_MS + expiry * 1000,
            frozen=frozen,
        )
        for number, (units, expiry, start, frozen) in enumerate(bought)
    ]
    scene = Scene(*packages)
    for begin_s, usage in used:
        paid = {key: Decimal(part) for key, part in scene.deduct(str(usage), begin_s).items()}
        rest = usage - sum(paid.values(), Decimal(0))
        assert all(part > 0 for part in paid.values())
        assert rest >= 0
        begin_ms = NOW_MS + begin_s * 1000
        held = [p for p in packages if p.touches(begin_ms, begin_ms + 60_000) and not p.frozen]
        left = {package.instance_id: scene.book.left(package, "chat") for package in held}
        assert all(units is not None and units >= 0 for units in left.values())
        assert paid.keys() <= left.keys()
        assert not rest or not any(left.values())
        ends = [scene.known[package_id].expires_ms or 1 << 60 for package_id in paid]
        assert ends == sorted(ends)
