from metering.entitlement import (
    EntitledInstance,
    EntitledKey,
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
        (EntitledKey("7", "ab" * 32), EntitledKey("8", "cd" * 32, 1, ("chat", "embed"))),
        tuple(EntitledInstance(f"i-{s}", "OFFI1", s, 7, trial=True) for s in InstanceStatus),
    )
    assert from_json(to_json(snapshot)) == snapshot
    assert from_json(to_json(snapshot).encode()) == snapshot
