"""Makes the debug cases that the interfaces have alike, right ones and wrong ones. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from .checks import SUCCESS
from .debug_case import DebugCase, Ids, Version, id_of
from .info_checks import Asked
from .tampering import AUTH_FAILED, BAD_PARAMETER

# The mock orders whose instances the other cases are about (spec §7.5).
PERIOD, ON_DEMAND, PACKAGE = "MOCKPERIODYEARNEW", "MOCKONDEMAND", "MOCKONDEMANDPKG"
MOST_IDS: Final = 100  # of one queryInstance (§2.7)
UNKNOWN: Final = frozenset({"000003"})


# Right ones...


def about(
    version: Version, instance_id: str, activity: str, title: str, fields: Mapping[str, object]
) -> DebugCase:
    """A debug call about one instance."""
    whole = {**fields, "instanceId": instance_id, "testFlag": "1"}
    return DebugCase(version, activity, title, whole)


def queries(version: Version, ids: Ids) -> Iterator[DebugCase]:
    """queryInstance of what was created, and of as many as one call may name."""
    yield query(version, "one id", (id_of(ids, PERIOD),), metered=False)
    yield query(version, "pay-per-use: usageInfo", (id_of(ids, ON_DEMAND),), metered=True)
    yield query(version, "package: usageInfo", (id_of(ids, PACKAGE),), metered=True)
    many = tuple(f"debug-instance-{number:03}" for number in range(MOST_IDS))
    yield query(version, "a hundred ids", many, metered=False)


def query(version: Version, title: str, asked: tuple[str, ...], *, metered: bool) -> DebugCase:
    """`metered`: usageInfo must be there."""
    fields = {"instanceId": ",".join(asked), "testFlag": "1"}
    expected = tuple(Asked(each, metered) for each in asked)
    return DebugCase(version, "queryInstance", title, fields, asked=expected)


# Wrong ones...


def badly_signed(
    good: DebugCase, titles: Mapping[str, str], codes: Mapping[str, frozenset[str]]
) -> Iterator[DebugCase]:
    """A good call, spoilt in each of the named ways."""
    for tamper, title in titles.items():
        yield DebugCase(good.version, good.activity, title, good.fields, tamper, codes[tamper])


def forged(version: Version, activity: str, fields: Mapping[str, object]) -> DebugCase:
    """A real call, if it were believed."""
    return DebugCase(version, activity, "forged", fields, "signature", AUTH_FAILED, real=True)


def spoilt(
    version: Version, activity: str, good: Mapping[str, object], name: str, length: int
) -> Iterator[DebugCase]:
    """A mandatory field is absent, empty, too long; in JSON it may be no text besides."""
    absent = {each: value for each, value in good.items() if each != name}
    yield wrong(version, activity, f"without {name}", absent)
    yield wrong(version, activity, f"{name} empty", {**good, name: ""})
    yield too_long(version, activity, good, name, length)
    if version is not Version.V1:
        yield wrong(version, activity, f"{name} no text", {**good, name: {"x": 1}})


def too_long(
    version: Version, activity: str, good: Mapping[str, object], name: str, length: int
) -> DebugCase:
    """One character more than the table allows."""
    title = f"{name} of {length + 1} characters"
    return wrong(version, activity, title, {**good, name: "x" * (length + 1)})


def wrong(version: Version, activity: str, title: str, fields: Mapping[str, object]) -> DebugCase:
    """Well signed, but no request that can be met."""
    # A businessId that is there stays as it is: it may be what is wrong.
    return DebugCase(version, activity, title, fields, accepted=BAD_PARAMETER)


def unknown(
    version: Version, instance_id: str, goods: Iterable[tuple[str, Mapping[str, object]]]
) -> Iterator[DebugCase]:
    """Real calls about an instance that nobody ever made. A release may be a repeated one."""
    for activity, good in goods:
        fields = {**good, "instanceId": instance_id}
        fields.pop("testFlag")
        accepted = UNKNOWN | ({SUCCESS} if activity == "releaseInstance" else frozenset())
        title = "unknown instance"
        yield DebugCase(version, activity, title, fields, accepted=accepted, real=True)
