"""The writer of the customers' file killed by SIGKILL at each of its lines."""

from tests.metering.killed import killed


def test_a_writer_killed_anywhere() -> None:
    """A reader finds the old file or the new one, and the next writer writes."""
    found = killed("gateway.entitlement_file_deaths", "writer")
    assert found["deaths"] > 15
    assert min(found["old"], found["new"]) > 0
