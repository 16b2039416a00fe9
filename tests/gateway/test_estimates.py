"""What a call will use, before it is made."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.estimates import Asked, Estimate, Means, estimate, most_tokens_made

PLAIN = {"model": "m", "messages": [{"role": "user", "content": "words"}]}
SAID = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample")


def asked(body: dict[str, Any]) -> Asked:
    """A request's body, whole."""
    text = json.dumps(body).encode()
    return Asked(text, len(text))


def known(sizes: list[int]) -> Means:
    """After calls of these sizes."""
    means = Means()
    for size in sizes:
        means.learn("chat", "tokens_out", size)
    return means


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
    fields = list(PLAIN.items()) + [("n", choices)]
    fields.insert(place, (name, most))
    body = json.dumps(dict(fields), separators=separators).encode()
    assert most_tokens_made(body) == most * choices
    found = estimate("tokens_out", "chat", Asked(body, len(body)), Means())
    assert found == Estimate(most * choices, bound=True)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    """And never below 1."""
    for meter in ("requests", "bytes_in", "tokens_out", "tokens_total", "images"):
        assert estimate(meter, "chat", Asked(body, len(body)), Means()).amount >= 1


@pytest.mark.parametrize("said", ['"max_tokens": null', '"max_tokens": "7"', '"maximum": 7', ""])
def test_what_says_no_number_says_nothing(said: str) -> None:
    """Then it is what others used."""
    body = ("{" + said + "}").encode()
    assert most_tokens_made(body) is None
    found = estimate("tokens_out", "chat", Asked(body, len(body)), known([100] * 40))
    assert not found.bound


def test_of_two_statements_the_larger_counts() -> None:
    """A body that says it twice is read by somebody who takes the other."""
    assert most_tokens_made(b'{"max_tokens": 5, "max_completion_tokens": 70}') == 70


def test_a_text_has_no_more_tokens_than_bytes() -> None:
    """With an image in it nobody knows."""
    text = asked(PLAIN | {"max_tokens": 10})
    assert estimate("tokens_total", "chat", text, Means()) == Estimate(10 + text.length, bound=True)
    image = asked(PLAIN | {"max_tokens": 10, "image": "http://x"})
    assert not estimate("tokens_total", "chat", image, Means()).bound


def test_before_anything_is_known_much_is_expected() -> None:
    """Many may come before one is over."""
    assert estimate("tokens_out", "chat", asked(PLAIN), Means()) == Estimate(4096, bound=False)


@given(st.integers(1, 10**9))
def test_equal_calls_are_expected_as_they_are(size: int) -> None:
    """After a while, but for rounding."""
    means = known([size] * 400)
    assert means.of("chat", "tokens_out") == size
    assert size <= means.high("chat", "tokens_out") <= size + size // 100 + 1


def test_of_calls_of_any_size_few_are_larger_than_expected() -> None:
    """Some one in ten, where no size is likelier than another."""
    dice, means, larger = random.Random(7), Means(), 0
    for number in range(2000):
        size = dice.randint(1, 500)
        larger += number >= 50 and size > means.high("chat", "tokens_out")
        means.learn("chat", "tokens_out", size)
    assert larger < 300
    assert 100 < means.of("chat", "tokens_out") < 400


@given(st.lists(st.integers(0, 10**15), max_size=60))
def test_what_is_expected_is_within_what_was_seen(sizes: list[int]) -> None:
    """The mean is between the least and the most; what few pass is not below it."""
    means = known(sizes)
    mean, high = means.of("chat", "tokens_out"), means.high("chat", "tokens_out")
    assert 1 <= mean <= high
    if sizes:
        assert min(sizes) - 1 <= mean <= max(1, *sizes)
        assert high <= max(1, *sizes) * 3
