"""The tables of debug cases: complete, and each as it says."""

import pytest

from tallygate.simulator import v1_cases, v1_refusals, v2_cases, v2_refusals
from tallygate.simulator.debug_case import DebugCase, Version
from tallygate.simulator.orders import MOCK_ORDERS

NOW_MS = 1_790_000_000_000
V2_RIGHT = [*v2_cases.creations(), *v2_cases.others({}, NOW_MS)]
V1_RIGHT = [
    *v1_cases.creations(NOW_MS, lambda text: f"sealed {text}"),
    *v1_cases.others({}, NOW_MS),
]
V2_WRONG = [*v2_refusals.refused(NOW_MS), *v2_refusals.unknown("nobody", NOW_MS)]
V1_WRONG = [*v1_refusals.refused(NOW_MS), *v1_refusals.unknown("nobody", NOW_MS)]
EVERY = [*V2_RIGHT, *V1_RIGHT, *V2_WRONG, *V1_WRONG]


def activities(cases: list[DebugCase]) -> set[str]:
    return {case.activity for case in cases}


def test_every_activity_is_played() -> None:
    """All of both versions."""
    assert activities(V2_RIGHT) == {
        *("newInstance", "queryInstance", "refreshInstance", "updateInstanceStatus"),
        *("releaseInstance", "upgradeInstance", "changeInstanceCheck", "orderNotify"),
    }
    assert activities(V1_RIGHT) == {
        *("newInstance", "queryInstance", "refreshInstance", "expireInstance"),
        *("releaseInstance", "upgrade", "instanceStatus"),
    }
    assert activities(V2_RIGHT) <= activities(V2_WRONG)
    assert activities(V1_RIGHT) <= activities(V1_WRONG)


@pytest.mark.parametrize("order_id", MOCK_ORDERS)
def test_every_mock_order_is_played(order_id: str) -> None:
    """In V2.0, where they are documented."""
    assert order_id in {case.fields.get("orderId") for case in V2_RIGHT}


def test_titles_tell_cases_apart() -> None:
    """Else a report could not name one."""
    names = [(case.version, case.activity, case.title) for case in EVERY]
    assert len(set(names)) == len(names)


def test_right_ones_are_right() -> None:
    """Debug calls that must succeed; what must be refused accepts no success, nor repeats."""
    for case in V2_RIGHT + V1_RIGHT:
        assert case.is_right
        assert case.fields["testFlag"] == "1"
    for case in V2_WRONG + V1_WRONG:
        assert not case.is_right
        assert "000000" not in case.accepted or case.activity == "releaseInstance"


def test_real_calls() -> None:
    """Without testFlag, only forged or about an instance that does not exist."""
    real = [case for case in EVERY if case.real]
    assert real
    for case in real:
        assert "testFlag" not in case.fields
        assert case.tamper == "signature" or case.fields["instanceId"] == "nobody"
    for case in EVERY:
        if not case.real and case.raw is None:
            assert case.fields.get("testFlag") == "1"


def test_parameters_of_v1_are_text() -> None:
    """There is nothing else in a query."""
    for case in V1_RIGHT + V1_WRONG:
        assert case.version is Version.V1
        assert all(isinstance(value, str) for value in case.fields.values())


def test_ids_of_creations_are_used() -> None:
    """What newInstance answered is asked for afterwards."""
    ids = {"MOCKONDEMAND": "made-1", "MOCKPERIODYEARNEW": "made-2"}
    for cases in (v2_cases, v1_cases):
        asked = {case.fields.get("instanceId") for case in cases.others(ids, NOW_MS)}
        assert {"made-1", "made-2"} <= asked
