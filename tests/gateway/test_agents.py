"""Nothing but the Agents gateway's own token, or its constant header, proves anything."""

from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.agents import AgentApp, Agents, Proof, Verdict
from gateway.errors import Headers
from tests.gateway.agent_tokens import APP, MINUTE_MS, SECRET, said_at, token

NOW = 1_790_000_000_000
AGENTS = Agents([AgentApp(APP, SECRET.encode())])
GOOD = token(said_at(NOW))
# Made by hand from the documentation's sample; see its section on calls of the gateway.
SAMPLE = (
    b"eyJhbGciOiJIUzI1NiIsInNpZ25fdHlwZSI6IlNJR04ifQ."
    b"eyJhcGlfa2V5IjoiZDQ0Y2Q5YWEtZTQ4ZS1iZTE3LTI3ZjQtNWVmMzQ3NDc5N2ExIiwidGltZXN0YW1wIjoxNzA5Njkw"
    b"ODY1ODc5LCJleHAiOjE3MDk2OTExNjU4Nzl9."
    b"Q5rixqf4BIxh-4IENY-HoBi2f3YazZ-RxQlGAOymqag"
)


def proof(value: bytes, now_ms: int = NOW, agents: Agents = AGENTS) -> Proof | None:
    """What this Authorization amounts to."""
    return agents.prove([(b"authorization", value)], now_ms)


def verdict(value: bytes, now_ms: int = NOW, agents: Agents = AGENTS) -> Verdict | None:
    found = proof(value, now_ms, agents)
    return found and found.verdict


def test_the_sample_proves_until_it_expires() -> None:
    """To the millisecond, and the tolerance of a minute beyond."""
    made, ends = 1709690865879, 1709691165879
    assert proof(SAMPLE, made) == Proof(Verdict.PROVED, ends + MINUTE_MS)
    assert verdict(SAMPLE, ends + MINUTE_MS - 1) is Verdict.PROVED
    assert verdict(SAMPLE, ends + MINUTE_MS) is Verdict.EXPIRED
    assert verdict(SAMPLE, made - MINUTE_MS) is Verdict.PROVED
    assert verdict(SAMPLE, made - MINUTE_MS - 1) is Verdict.FUTURE


def test_tokens_of_another_implementation_prove() -> None:
    """PyJWT writes them with a `typ` and in an order of its own."""
    made = jwt.encode(said_at(NOW), SECRET, algorithm="HS256", headers={"sign_type": "SIGN"})
    assert verdict(made.encode()) is Verdict.PROVED


def test_another_implementation_takes_the_tokens_of_these_tests() -> None:
    """So that both sides of a test cannot be wrong together."""
    said = jwt.decode(GOOD, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert said == said_at(NOW)


@pytest.mark.parametrize("scheme", [b"", b"Bearer ", b"bearer ", b"BEARER   ", b"  Bearer "])
def test_with_and_without_bearer(scheme: bytes) -> None:
    """In any case and with any space."""
    assert verdict(scheme + GOOD + b" ") is Verdict.PROVED


@pytest.mark.parametrize(
    ("exp", "until"),
    [
        (NOW + 300_000, NOW + 300_000),
        (NOW // 1000 + 300, NOW + 300_000),
        (NOW / 1000 + 300, NOW + 300_000),
        (None, NOW + 300_000),  # five minutes are what the documentation says
        (10**18, 10**18),
        (10**30, 2**62),
        (10**400, 2**62),
    ],
)
def test_its_end_in_seconds_or_milliseconds_or_unsaid(exp: Any, until: int) -> None:
    """A number above 10^11 is in ms."""
    assert proof(token(said_at(NOW, exp=exp))) == Proof(Verdict.PROVED, until + MINUTE_MS)


@pytest.mark.parametrize(
    ("said", "verdict_"),
    [
        ({"exp": NOW - MINUTE_MS}, Verdict.EXPIRED),
        ({"exp": NOW // 1000 - 60}, Verdict.EXPIRED),
        ({"exp": 0}, Verdict.EXPIRED),
        ({"exp": -1}, Verdict.EXPIRED),
        ({"exp": None, "timestamp": NOW - 6 * MINUTE_MS}, Verdict.EXPIRED),
        ({"timestamp": NOW + MINUTE_MS + 1}, Verdict.FUTURE),
        ({"timestamp": NOW // 1000 + 61}, Verdict.FUTURE),
        ({"timestamp": 10**40}, Verdict.FUTURE),
        ({"api_key": "another"}, Verdict.UNKNOWN_APP),
        ({"api_key": ""}, Verdict.UNKNOWN_APP),
        ({"api_key": 7}, Verdict.MALFORMED),
        ({"api_key": None}, Verdict.MALFORMED),
        ({"timestamp": None}, Verdict.MALFORMED),
        ({"timestamp": "soon"}, Verdict.MALFORMED),
        ({"timestamp": True}, Verdict.MALFORMED),
        ({"exp": "never"}, Verdict.MALFORMED),
        ({"exp": []}, Verdict.MALFORMED),
    ],
)
def test_what_a_well_signed_token_may_not_say(said: dict[str, Any], verdict_: Verdict) -> None:
    """Expired, of the future, of an app nobody knows, or not of this form."""
    assert verdict(token(said_at(NOW, **said))) is verdict_


@pytest.mark.parametrize("end", ["1e999", "-1e999", "NaN", "Infinity", "1e", "0x10"])
def test_numbers_that_are_none(end: str) -> None:
    """No more than any other text, though it is signed."""
    payload = f'{{"api_key": "{APP}", "timestamp": {NOW}, "exp": {end}}}'
    made = jwt.api_jws.PyJWS().encode(payload.encode(), SECRET, "HS256")
    assert verdict(made.encode()) is Verdict.MALFORMED


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "sign_type": "SIGN"},
        {"alg": "None"},
        {"alg": "hs256"},
        {"alg": "HS384"},
        {"alg": "RS256"},
        {"alg": ""},
        {"alg": ["HS256"]},
        {"sign_type": "SIGN"},
        {"alg": "HS256", "sign_type": "OTHER"},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"alg": "HS256", "crit": []},
        [],
        "HS256",
    ],
)
def test_no_other_algorithm(header: Any) -> None:
    """Though the very secret signed it; and unsigned."""
    made = token(said_at(NOW), header=header)
    assert verdict(made) is Verdict.MALFORMED
    assert verdict(made.rpartition(b".")[0] + b".") is Verdict.MALFORMED


@pytest.mark.parametrize("digest", ["sha1", "sha384", "sha512", "md5"])
def test_no_other_digest(digest: str) -> None:
    """Whatever the header says."""
    assert verdict(token(said_at(NOW), digest=digest)) is Verdict.BAD_SIGNATURE


def test_every_spelling_of_the_signature_but_one_is_wrong() -> None:
    """The last letter of 43 has bits that a lenient reader ignores; `=` and `+/` are other alphabets."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = [bytes([sign]) for sign in alphabet if bytes([sign]) != GOOD[-1:]]
    for end in last:
        assert verdict(GOOD[:-1] + end) is Verdict.BAD_SIGNATURE
    assert verdict(GOOD + b"=") is None
    assert verdict(GOOD + b"A") is Verdict.BAD_SIGNATURE


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_token_with_another_byte_never_proves(at: int, by: int) -> None:
    """Wherever it stands."""
    forged = GOOD[:at] + bytes([GOOD[at] ^ by]) + GOOD[at + 1 :]
    if forged.strip() != GOOD:
        assert verdict(forged) is not Verdict.PROVED


@given(st.integers(0, len(GOOD) - 1))
def test_a_part_of_a_token_never_proves(length: int) -> None:
    """From either end."""
    assert verdict(GOOD[:length]) is not Verdict.PROVED
    assert verdict(GOOD[-length:] if length else b"") is not Verdict.PROVED


@given(st.text(max_size=64).filter(lambda secret: secret != SECRET))
def test_another_secret_never_proves(secret: str) -> None:
    """Nor none at all."""
    assert verdict(token(said_at(NOW), secret)) is Verdict.BAD_SIGNATURE


@given(
    st.binary(max_size=300)
    | st.from_regex(rb"[\w-]{1,80}\.[\w-]{1,80}\.[\w-]{0,43}", fullmatch=True)
)
def test_whatever_else_is_sent_never_proves(value: bytes) -> None:
    """And never raises."""
    assert verdict(value) is not Verdict.PROVED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON | st.fixed_dictionaries({"api_key": JSON, "timestamp": JSON, "exp": JSON}))
def test_whatever_a_stranger_signs_never_proves(payload: Any) -> None:
    """Any JSON, also of the right form."""
    assert verdict(token(payload, "another secret")) is not Verdict.PROVED


@given(st.integers(-(10**14), 10**14), st.integers(0, 10**14), st.integers(0, 10**14))
def test_only_between_its_times(now_ms: int, made_ms: int, ends_ms: int) -> None:
    """With a minute on either side; what is remembered ends when the token does."""
    made_ms, ends_ms = made_ms + 10**11 + 1, ends_ms + 10**11 + 1
    found = proof(token(said_at(0, timestamp=made_ms, exp=ends_ms)), now_ms)
    assert found is not None
    assert found.holds == (made_ms - MINUTE_MS <= now_ms < ends_ms + MINUTE_MS)
    assert found.until_ms == (ends_ms + MINUTE_MS if found.holds else 0)


def test_a_customers_own_key_is_no_token() -> None:
    """Nobody is told that it failed to prove something."""
    for value in (
        b"Bearer sk-1234567",
        b"Basic abc",
        b"",
        b"Bearer",
        b"a.b",
        b"a.b.c.d",
        b"x" * 5000,
    ):
        assert proof(value) is None


def test_an_endless_token_is_not_looked_at() -> None:
    """4096 bytes are the bound."""
    assert proof(token(said_at(NOW, more="x" * 5000))) is None


def test_two_tokens_are_none() -> None:
    """Which of them would speak?"""
    assert AGENTS.prove([(b"authorization", GOOD), (b"authorization", GOOD)], NOW) is None


def test_another_header_may_carry_it() -> None:
    """And then no other does."""
    agents = Agents([AgentApp(APP, SECRET.encode())], jwt_header=b"x-agent-token")
    assert agents.prove([(b"x-agent-token", GOOD)], NOW) == proof(GOOD)
    assert proof(GOOD, agents=agents) is None
    assert agents.headers == {b"x-agent-token"}


def test_several_apps_and_a_secret_that_changes() -> None:
    """Each key has secrets of its own."""
    apps = [AgentApp("one", b"s1"), AgentApp("one", b"s2"), AgentApp("two", b"s3")]
    agents = Agents(apps)
    for key, secret, expected in (
        ("one", "s1", Verdict.PROVED),
        ("one", "s2", Verdict.PROVED),
        ("one", "s3", Verdict.BAD_SIGNATURE),
        ("two", "s3", Verdict.PROVED),
        ("two", "s1", Verdict.BAD_SIGNATURE),
    ):
        assert verdict(token(said_at(NOW, api_key=key), secret), agents=agents) is expected


def test_clocks_may_differ_by_the_tolerance() -> None:
    """None at all, if that is said."""
    strict = Agents([AgentApp(APP, SECRET.encode())], tolerance_ms=0)
    assert verdict(token(said_at(NOW + 1)), agents=strict) is Verdict.FUTURE
    assert verdict(token(said_at(NOW, exp=NOW)), agents=strict) is Verdict.EXPIRED
    assert verdict(token(said_at(NOW, exp=NOW + 1)), agents=strict) is Verdict.PROVED


CONSTANT = Agents(constant=(b"x-merchant", b"s3cret"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-merchant", b"s3cret")], Proof(Verdict.PROVED)),
        ([(b"x-merchant", b" s3cret ")], Proof(Verdict.PROVED)),
        ([(b"x-merchant", b"s3creT")], Proof(Verdict.BAD_CONSTANT)),
        ([(b"x-merchant", b"")], Proof(Verdict.BAD_CONSTANT)),
        ([(b"x-merchant", b"s3cret")] * 2, Proof(Verdict.BAD_CONSTANT)),
        ([(b"x_merchant", b"s3cret")], None),
        ([], None),
    ],
)
def test_the_constant_header(headers: Headers, expected: Proof | None) -> None:
    """Once, and to the letter; it holds for ever."""
    assert CONSTANT.prove(headers, NOW) == expected


def test_a_constant_in_a_keys_place_leaves_room_for_keys() -> None:
    """Another value is some customer's."""
    agents = Agents(constant=(b"x-api-key", b"s3cret"))
    assert agents.prove([(b"x-api-key", b"s3cret")], NOW) == Proof(Verdict.PROVED)
    assert agents.prove([(b"x-api-key", b"sk-1")], NOW) is None


def test_either_proof_is_enough() -> None:
    """A token that is over does not spoil the header, nor a wrong header the token."""
    both = Agents([AgentApp(APP, SECRET.encode())], constant=(b"x-merchant", b"s3cret"))
    old = (b"authorization", token(said_at(NOW - 10 * MINUTE_MS)))
    assert both.prove([old, (b"x-merchant", b"s3cret")], NOW) == Proof(Verdict.PROVED)
    found = both.prove([(b"authorization", GOOD), (b"x-merchant", b"wrong")], NOW)
    assert found is not None
    assert found.holds
    assert both.prove([old], NOW) == Proof(Verdict.EXPIRED)
    assert both.headers == {b"authorization", b"x-merchant"}


def test_the_header_is_known_however_it_is_spelt() -> None:
    """So that it is kept from the upstream in every spelling."""
    assert Agents(constant=(b"x_mine", b"v")).headers == {b"x_mine", b"x-mine"}


def test_nothing_shows_a_secret() -> None:
    """Of those that are asked."""
    assert SECRET not in repr(AGENTS) + repr(proof(GOOD))
