"""The authentication centre: codes work once, secrets and PKCE are checked, nothing grows for ever."""

import hashlib
from base64 import urlsafe_b64encode
from itertools import count

import pytest

from tallygate.simulator.authority import ACCESS_S, CODE_MS, REFRESH_MS, Authority, Grant, Kept
from tallygate.simulator.directory import App, Directory, Person, Tenant
from tests.tallygate.simulator.stage import NOW_MS

BACK = "https://merchant.example.com/oauth/callback"
VERIFIER = "v" * 50
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CLIENT = {"client_id": "client-1", "client_secret": "secret-1"}


def company() -> Directory:
    directory = Directory()
    tenant = Tenant("t-1", "corp", "Corp", "https://corp.example.com", "i-1", "CS1")
    tenant.apps["app"] = App("app", "client-1", "secret-1", (BACK,))
    tenant.apps["other"] = App("other", "client-2", "secret-2", (BACK,))
    tenant.people["ada"] = Person("ada", "Ada", "D-1", "admin")
    tenant.people["bo"] = Person("bo", "Bo", "D-1", enabled=False)
    directory.put(tenant)
    return directory


@pytest.fixture
def directory() -> Directory:
    return company()


@pytest.fixture
def centre(directory: Directory) -> Authority:
    numbers = count()
    return Authority(directory, lambda: f"token-{next(numbers)}")


def code_of(centre: Authority, challenge: str = "") -> str:
    return centre.code(Grant("client-1", "t-1", "ada", BACK, "", challenge), NOW_MS)


def exchanged(centre: Authority, code: str, **more: str) -> dict[str, str]:
    return {**CLIENT, "grant_type": "authorization_code", "code": code, **more}


def test_a_code_gives_tokens_once(centre: Authority) -> None:
    """Shown again it gives nothing, and ends what it gave."""
    form = exchanged(centre, code_of(centre), redirect_uri=BACK)
    given = centre.token(form, NOW_MS)
    assert given.status == 200
    assert (given.body["token_type"], given.body["expires_in"]) == ("Bearer", ACCESS_S)
    token = str(given.body["access_token"])
    assert centre.userinfo(token, NOW_MS).body == {
        "userName": "ada",
        "name": "Ada",
        "tenant": "t-1",
        "organizationCode": "D-1",
        "role": "admin",
    }
    again = centre.token(form, NOW_MS)
    assert (again.status, again.body["error"]) == (400, "invalid_grant")
    assert centre.userinfo(token, NOW_MS).status == 401


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"code": "made up"}, "invalid_grant"),
        ({"client_id": "client-2", "client_secret": "secret-2"}, "invalid_grant"),
        ({"redirect_uri": "https://elsewhere.example.com"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
def test_wrong_exchanges(centre: Authority, change: dict[str, str], error: str) -> None:
    """Each in its own word."""
    outcome = centre.token({**exchanged(centre, code_of(centre)), **change}, NOW_MS)
    assert outcome.status in (400, 401)
    assert outcome.body["error"] == error


@pytest.mark.parametrize(("verifier", "status"), [(VERIFIER, 200), ("other", 400), ("", 400)])
def test_pkce(centre: Authority, verifier: str, status: int) -> None:
    """Who asked with a challenge must show what it was made from."""
    form = exchanged(centre, code_of(centre, CHALLENGE), code_verifier=verifier)
    assert centre.token(form, NOW_MS).status == status


def test_a_code_ends(centre: Authority) -> None:
    """After five minutes."""
    form = exchanged(centre, code_of(centre))
    assert centre.token(form, NOW_MS + CODE_MS).status == 400


def test_refreshing(centre: Authority) -> None:
    """A new pair for an old one, which works no more; after thirty days it is over."""
    first = centre.token(exchanged(centre, code_of(centre)), NOW_MS).body
    form = {**CLIENT, "grant_type": "refresh_token", "refresh_token": str(first["refresh_token"])}
    second = centre.token(form, NOW_MS).body
    assert centre.userinfo(str(first["access_token"]), NOW_MS).status == 401
    assert centre.userinfo(str(second["access_token"]), NOW_MS).status == 200
    assert centre.token(form, NOW_MS).status == 400
    late = {**form, "refresh_token": str(second["refresh_token"])}
    assert centre.token(late, NOW_MS + REFRESH_MS).status == 400


def test_who_is_gone(centre: Authority, directory: Directory) -> None:
    """A person who was deleted or disabled has no tokens any more."""
    token = str(centre.token(exchanged(centre, code_of(centre)), NOW_MS).body["access_token"])
    del directory.tenant("t-1").people["ada"]
    assert centre.userinfo(token, NOW_MS).status == 401
    assert centre.sign_in("t-1", "bo", NOW_MS) is None


def test_signing_out(centre: Authority) -> None:
    """The session ends, and every token."""
    session = centre.sign_in("t-1", "ada", NOW_MS)
    assert session is not None
    assert centre.signed_in(session, NOW_MS) == ("t-1", "ada")
    token = str(centre.token(exchanged(centre, code_of(centre)), NOW_MS).body["access_token"])
    centre.sign_out(session, NOW_MS)
    assert centre.signed_in(session, NOW_MS) is None
    assert centre.userinfo(token, NOW_MS).status == 401


def test_an_access_token_ends(centre: Authority) -> None:
    """After two hours."""
    token = str(centre.token(exchanged(centre, code_of(centre)), NOW_MS).body["access_token"])
    assert centre.userinfo(token, NOW_MS + ACCESS_S * 1000).status == 401


def test_what_is_kept_is_bounded() -> None:
    """The oldest goes."""
    kept: Kept[int] = Kept(most=2)
    for number in range(3):
        kept.put(str(number), number, NOW_MS)
    assert len(kept) == 2
    assert [kept.get(str(number), 0) for number in range(3)] == [None, 1, 2]


def test_secrets_do_not_show() -> None:
    """Neither in a repr."""
    assert "secret-1" not in repr(company().tenants)
