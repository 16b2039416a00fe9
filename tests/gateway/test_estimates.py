"""What a call will use, before it is made."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.brakes import Brake, Brakes
from gateway.estimates import Estimate, Mean, most_used
from gateway.holds import Hold
from gateway.purse import PackagePurse

PLAIN = {"model": "m", "messages": [{"role": "user", "content": "words"}]}
SAID = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample")


def estimated(
    meter: str, body: dict[str, Any] | bytes, mean: Mean | None = None, length: int | None = None
) -> Estimate:
    """What a call asks of a package of which there is nothing; its body came whole, or is longer."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    brake = Brake(PackagePurse("account", 0, meter), "package", "package", meter, mean=mean)
    hold = Hold(Brakes((brake,)), text, len(text) if length is None else length)
    assert not hold.take(0.0)
    return hold.lacking[1]


def said(body: bytes) -> int:
    """The most tokens that it lets the model make; 0 if it says nothing."""
    return most_used("tokens_out", body, len(body))


def known(sizes: list[int]) -> Mean:
    """After calls of these sizes."""
    mean = Mean("tokens_out")
    for size in sizes:
        mean.learn(size)
    return mean


@given(
    st.sampled_from(SAID),
    st.integers(1, 10**9),
    st.integers(1, 128),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]),
    st.integers(0, 3),
)
def test_what_a_request_says_is_an_upper_bound(
    name: str, most: int, choices: int, separators: tuple[str, str], place: int
) -> None:
    """Whatever the field is called, wherever it stands, however it is written; times the choices."""
    fields = [*list(PLAIN.items()), ("n", choices)]
    fields.insert(place, (name, most))
    body = json.dumps(dict(fields), separators=separators).encode()
    assert said(body) == most * choices
    found = estimated("tokens_out", body)
    assert found == Estimate(most * choices, bound=True)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    """And never below 1."""
    for meter in ("requests", "bytes_in", "tokens_out", "tokens_total", "images"):
        assert estimated(meter, body).amount >= 1


@pytest.mark.parametrize("field", ['"max_tokens": null', '"max_tokens": "7"', '"maximum": 7', ""])
def test_what_says_no_number_says_nothing(field: str) -> None:
    """Then it is what others used."""
    body = ("{" + field + "}").encode()
    assert said(body) == 0
    found = estimated("tokens_out", body, known([100] * 40))
    assert not found.bound


@pytest.mark.parametrize(
    "body",
    [
        b'{"user": "a \\" b", "max_tokens": 9}',
        b'{"messages": [{"content": "x"}], "max_tokens" : 9 }',
        b'{"max_tokens":9}',
        b'{"max_tokens": 9, "stop": ["max_tokens"]}',
    ],
)
def test_it_is_found_wherever_it_stands(body: bytes) -> None:
    """Behind escaped quotation marks, last, first, and beside its own name."""
    assert said(body) == 9


@pytest.mark.parametrize("body", [b'{"max_tokens"', b'"max_tokens', b'["max_tokens", 9]', b'"'])
def test_what_is_cut_or_no_field_says_nothing(body: bytes) -> None:
    """However it ends."""
    assert said(body) == 0


def test_of_two_statements_the_larger_counts() -> None:
    """A body that says it twice is read by somebody who takes the other."""
    assert said(b'{"max_tokens": 5, "max_completion_tokens": 70}') == 70


def test_a_text_has_no_more_tokens_than_bytes() -> None:
    """With an image in it nobody knows."""
    text = PLAIN | {"max_tokens": 10}
    length = len(json.dumps(text))
    assert estimated("tokens_total", text) == Estimate(10 + length, bound=True)
    assert not estimated("tokens_total", text | {"image": "http://x"}).bound


def test_of_a_body_that_did_not_come_whole_the_rest_may_hold_anything() -> None:
    """The number that it said is expected all the same."""
    body = b'{"max_tokens": 10, "messages": ['
    assert estimated("tokens_total", body, length=1000) == (1010, False)


def test_before_anything_is_known_much_is_expected() -> None:
    """Many may come before one is over."""
    assert estimated("tokens_out", PLAIN) == Estimate(4096, bound=False)


@given(st.integers(1, 10**9))
def test_equal_calls_are_expected_as_they_are(size: int) -> None:
    """After a while, but for rounding."""
    mean = known([size] * 400)
    assert mean.usual == size
    assert size <= mean.high <= size + size // 100 + 1


def test_of_calls_of_any_size_few_are_larger_than_expected() -> None:
    """Some one in ten, where no size is likelier than another."""
    dice, mean, larger = random.Random(7), Mean("tokens_out"), 0
    for number in range(2000):
        size = dice.randint(1, 500)
        larger += number >= 50 and size > mean.high
        mean.learn(size)
    assert larger < 300
    assert 100 < mean.usual < 400


@given(st.lists(st.integers(0, 10**15), max_size=60))
def test_what_is_expected_is_within_what_was_seen(sizes: list[int]) -> None:
    """The mean is between the least and the most; what few pass is not below it."""
    mean = known(sizes)
    assert 1 <= mean.usual <= mean.high
    if sizes:
        assert min(sizes) - 1 <= mean.usual <= max(1, *sizes)
        assert mean.high <= max(1, *sizes) * 3
