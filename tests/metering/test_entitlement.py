from metering.entitlement import (
    EntitledInstance,
    EntitlementSnapshot,
    InstanceStatus,
    from_json,
    to_json,
)


def test_a_snapshot_survives_its_json() -> None:
    """Chinese names and every status come back as they were."""
    snapshot = EntitlementSnapshot(
        "cust-1",
        "示例公司",
        ("ab" * 32,),
        tuple(EntitledInstance(f"i-{s}", "OFFI1", s) for s in InstanceStatus),
    )
    assert from_json(to_json(snapshot)) == snapshot
    assert from_json(to_json(snapshot).encode()) == snapshot
