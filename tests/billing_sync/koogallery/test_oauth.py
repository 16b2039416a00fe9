"""What is sent to a centre and what is believed of its answers."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_sync.errors import SignInAway, SignInRefused
from billing_sync.koogallery import oauth
from billing_sync.koogallery.oauth import Client, centre_of, somebody_of, tokens_of

CLIENT = Client("https://t.example.com", "id", "hush")


@pytest.mark.parametrize(
    ("told", "base"),
    [
        ("https://t.example.com", "https://t.example.com"),
        ("https://t.example.com/", "https://t.example.com"),
        (" https://T.example.com:8443/ ", "https://T.example.com:8443"),
    ],
)
def test_a_centre(told: str, base: str) -> None:
    """A name with TLS, and nothing else."""
    assert centre_of(told, loopback=False) == base


@pytest.mark.parametrize(
    "told",
    [
        "",
        "t.example.com",
        "http://t.example.com",
        "ftp://t.example.com",
        "https://user@t.example.com",
        "https://t.example.com@10.0.0.1",
        "https://t.example.com/path",
        "https://t.example.com?x=1",
        "https://t.example.com#x",
        "https://10.0.0.1",
        "https://[::1]",
        "https://127.0.0.1",
        "https://169.254.169.254",
        "https://2130706433",
        "https://127.1",
        "https://127.0.0.0x1",
        "https://db.internal.",
        "https://10.0.0.1.",
        "https://localhost",
        "https://a.localhost",
        "https://db.internal",
        "https://t.example.com:99999",
        "https://t.example.com:0",
        "https://[x",
        "https://täst.example.com",
        "https://t.example.com\\@evil.example.com",
        "https://10.0.0.1\\.t.example.com",
        "https://10.0.0.1%2f.t.example.com",
        "https://a b.example.com",
        "https://t.example.com;x",
        "https://t.example.com'",
        "https://-t.example.com",
        "https://.t.example.com",
        "https://t..example.com",
        "javascript:alert(1)",
        "http://127.0.0.1",
    ],
)
def test_no_centre(told: str) -> None:
    """Nothing inside our network is asked, whatever a callback tells."""
    with pytest.raises(SignInRefused):
        centre_of(told, loopback=False)


def test_on_this_machine() -> None:
    """Without TLS only beside a simulator, and there nothing but this machine."""
    assert centre_of("http://127.0.0.1:80/", loopback=True) == "http://127.0.0.1:80"
    for told in ("http://10.0.0.1", "http://t.example.com", "http://localhost"):
        with pytest.raises(SignInRefused):
            centre_of(told, loopback=True)


@given(st.text(max_size=80))
def test_any_text_as_a_centre(told: str) -> None:
    """Is refused or is a host with TLS."""
    try:
        found = urlsplit(centre_of(told, loopback=False))
    except SignInRefused:
        return
    assert (found.scheme, found.path, found.query) == ("https", "", "")


def test_the_challenge_of_the_standard() -> None:
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert oauth.challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_where_a_browser_is_sent() -> None:
    """To sign in, and out again; without a verifier there is no challenge."""
    asked = urlsplit(oauth.authorize_url(CLIENT, "https://m/cb?x=1&y", "s1", "v"))
    assert f"{asked.scheme}://{asked.netloc}{asked.path}" == (
        "https://t.example.com/api/v1/oauth2/authorize"
    )
    assert parse_qs(asked.query) == {
        "response_type": ["code"],
        "client_id": ["id"],
        "redirect_uri": ["https://m/cb?x=1&y"],
        "scope": ["get_user_info"],
        "state": ["s1"],
        "code_challenge": [oauth.challenge_of("v")],
        "code_challenge_method": ["S256"],
    }
    assert "challenge" not in oauth.authorize_url(CLIENT, "https://m/cb", "s1", "")
    assert oauth.logout_url("https://t.example.com", "https://m/out") == (
        "https://t.example.com/api/v1/logout?redirect_url=https%3A%2F%2Fm%2Fout"
    )


def test_the_secret_is_in_no_repr() -> None:
    """Of a client that is logged by mistake."""
    assert "hush" not in repr(CLIENT)


@pytest.mark.parametrize(
    ("said", "life_s"),
    [(b"7200", 7200), (b'"60"', 60), (b"null", 7200), (b"-5", 7200), (b"99999999999", 7200)],
)
def test_how_long_a_token_is_good(said: bytes, life_s: int) -> None:
    """As the centre says, within reason."""
    tokens = tokens_of(200, b'{"access_token": "a", "expires_in": %b}' % said)
    assert (tokens.life_s, tokens.refresh_token) == (life_s, None)


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (400, b'{"error": "invalid_grant", "error_description": "x"}', "400: invalid_grant"),
        (401, b"<html>", "401: no reason"),
        (400, b'{"error": "<script>"}', "400: no reason"),
    ],
)
def test_refusals(status: int, body: bytes, problem: str) -> None:
    """With the centre's word for it, if it is a word."""
    for read in (tokens_of, somebody_of):
        with pytest.raises(SignInRefused, match=problem) as refusal:
            read(status, body)
        assert not isinstance(refusal.value, SignInAway)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (302, b""),
        (429, b"{}"),
        (200, b""),
        (200, b"[]"),
        (200, b"\xff"),
        (200, b'{"access_token": ""}'),
        (200, b'{"access_token": "a b"}'),
        (200, b'{"access_token": "a", "token_type": "mac"}'),
    ],
)
def test_answers_without_tokens(status: int, body: bytes) -> None:
    """Are the centre's fault; trying again may help."""
    with pytest.raises(SignInAway):
        tokens_of(status, body)


def test_somebody() -> None:
    """By the user name that authSync told; the rest is only shown."""
    person = somebody_of(200, '{"userName": "ann", "name": "安", "id": 5}'.encode())
    assert (person.user_name, person.name) == ("ann", "安")
    for body in (b"{}", b'{"userName": ""}', b'{"userName": 5}'):
        with pytest.raises(SignInAway):
            somebody_of(200, body)
