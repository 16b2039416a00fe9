"""Where the evidence of a drill comes from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from metering.journal import Durability, Journal
from metering.usage import Charge
from tallygate.demo.answers import Answers
from tallygate.demo.replies import Reply
from tallygate.demo.upstream import StubUpstream
from tallygate.drills.collecting import read_answers, read_records
from tallygate.drills.judging import Answered, Item
from tests.fakes import FakeClock, usage_record
from tests.tallygate.serving import serving

pytestmark = pytest.mark.anyio


@contextmanager
def lane(journal: Path, name: str) -> Iterator[Journal]:
    opened = Journal(journal, name, 8, Durability(), FakeClock())
    try:
        yield opened
    finally:
        opened.close()


async def test_records_of_all_lanes_are_read(tmp_path: Path) -> None:
    """With what each adds to the counts, of living lanes and of dead ones."""
    charges = (Charge("ada-1", "tokens_in"),)
    with lane(tmp_path, "a") as first:
        first.append(usage_record("ada", charges=charges, requests=1, tokens_in=3, tokens_out=0))
    with lane(tmp_path, "b") as second:
        second.append(usage_record("bob", requests=1))
        found = read_records(tmp_path)
    assert [(record.lane, record.number, record.customer_id) for record in found] == [
        ("a", 1, "ada"),
        ("b", 1, "bob"),
    ]
    assert found[0].quantities == {"requests": 1, "tokens_in": 3, "tokens_out": 0}
    assert found[0].amounts == {
        Item("ada", "", "requests"): 1,
        Item("ada", "", "tokens_in"): 3,
        Item("ada", "ada-1", "tokens_in"): 3,
    }


async def test_what_the_upstream_answered_is_read_page_by_page() -> None:
    """By request id; one that came twice is told."""
    stub = StubUpstream()
    reply = Reply((b"{}",), False, 3, 5)
    for number in [*range(6000), 7]:
        heads = [(b"x-request-id", b"r-%d" % number), (b"x-customer-id", b"ada")]
        stub.answers.begin(heads, reply)
    with serving(stub) as url:
        async with httpx.AsyncClient(trust_env=False) as http:
            found, twice = await read_answers(http, url)
    assert (len(found), twice) == (6000, {"r-7"})
    assert found["r-5999"] == Answered("ada", 3, 5, False)


async def test_an_upstream_that_has_forgotten_is_no_witness() -> None:
    """Its list is not the whole."""
    stub = StubUpstream()
    stub.answers = Answers(most=1)
    for number in range(2):
        heads = [(b"x-request-id", b"r-%d" % number)]
        stub.answers.begin(heads, Reply((b"{}",), False, 3, 5))
    with serving(stub) as url:
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(ValueError, match="forgotten 1 requests"):
                await read_answers(http, url)
