"""The three hops, journal → Redis → ledger, under every fault that can befall them.

Whatever the history: the ledger holds at any moment exactly what its checkpoints say, so never more
than was recorded; and when all is quiet it holds exactly what the journals hold and what it had counted
of what they lost, and the findings name exactly what is missing and what nobody can explain.
"""

import logging
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.histories import History, written
from tests.pipeline import Pipeline


@pytest.fixture
def quiet() -> Iterator[None]:
    """Of so much trouble nobody wants to hear."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(dice=st.randoms(use_true_random=False))
def test_every_history_ends_exact(valkey_url: str, quiet: None, dice: Random) -> None:
    """No order of faults loses usage, counts it twice, or leaves it without a name."""
    script = written(dice)
    note(script)
    pipeline = Pipeline(valkey_url)
    try:
        History(pipeline).play(script)
    finally:
        pipeline.close()
