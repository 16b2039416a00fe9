"""Which requests the stub upstream answered."""

import httpx

from tallygate.demo.answers import PAGE, Answers
from tallygate.demo.replies import Reply
from tallygate.demo.upstream import StubUpstream
from tests.tallygate.serving import serving

REPLY = Reply((b"{}",), False, 3, 5)


def heads(request_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-request-id", request_id.encode()), (b"x-customer-id", b"c-1")]


def test_each_request_is_listed_by_its_id() -> None:
    """With what it was worth, and whether its reply was sent to the end; without an id it is left out."""
    stub = StubUpstream()
    ask = {"prompt": "a b c", "max_tokens": 5}
    who = {"X-Request-Id": "r-1", "X-Customer-Id": "c-1"}
    with serving(stub) as url, httpx.Client(base_url=url) as client:
        client.post("/v1/completions", json=ask, headers=who).raise_for_status()
        client.post("/v1/completions", json=ask).raise_for_status()
        said = client.get("/_stub/requests").json()
        assert client.get("/_stub/requests?after=1").json()["requests"] == []
    (only,) = said["requests"]
    assert (said["next"], said["forgotten"]) == (None, 0)
    assert only == {
        "number": 1,
        "request_id": "r-1",
        "customer_id": "c-1",
        "tokens_in": 3,
        "tokens_out": 5,
        "complete": True,
    }


def test_a_long_list_comes_in_pages() -> None:
    """Each page says where the next begins."""
    answers = Answers()
    for number in range(PAGE + 2):
        answers.begin(heads(f"r-{number}"), REPLY)
    first = answers.page(0)
    assert (len(first["requests"]), first["next"]) == (PAGE, PAGE)
    last = answers.page(first["next"])
    assert ([entry["number"] for entry in last["requests"]], last["next"]) == (
        [PAGE + 1, PAGE + 2],
        None,
    )


def test_what_was_let_go_of_is_said() -> None:
    """Nobody takes the list for the whole."""
    answers = Answers(most=2)
    for number in range(5):
        answers.begin(heads(f"r-{number}"), REPLY)
    said = answers.page(0)
    assert [entry["request_id"] for entry in said["requests"]] == ["r-3", "r-4"]
    assert said["forgotten"] == 3
    assert [entry["number"] for entry in answers.page(4)["requests"]] == [5]
