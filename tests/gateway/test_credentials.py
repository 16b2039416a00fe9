"""What a request head says about who calls."""

import pytest

from gateway.credentials import Networks, TrustedIdentity, presented_key, trusted_identity
from gateway.errors import BadIdentity, Unauthenticated


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer sk-1"),
        (b"authorization", b"bearer   sk-1 "),
        (b"x-api-key", b"sk-1"),
        (b"api-key", b" sk-1"),
    ],
)
def test_a_key_is_found_in_each_of_its_headers(header: tuple[bytes, bytes]) -> None:
    """Bearer in any case, and both spellings of the API key header."""
    assert presented_key([(b"accept", b"*/*"), header]) == b"sk-1"


@pytest.mark.parametrize(
    "header",
    [(b"authorization", b"Basic c2stMQ=="), (b"authorization", b"Bearer"), (b"x-api-key", b"")],
)
def test_other_credentials_are_no_key(header: tuple[bytes, bytes]) -> None:
    """Another scheme and an empty value are as good as nothing."""
    assert presented_key([header]) is None


def test_the_same_key_twice_is_one_key() -> None:
    """SDKs send both headers."""
    assert presented_key([(b"authorization", b"Bearer k"), (b"x-api-key", b"k")]) == b"k"


def test_two_different_keys_are_refused() -> None:
    """Nobody is left to guess who pays."""
    with pytest.raises(Unauthenticated):
        presented_key([(b"authorization", b"Bearer k"), (b"x-api-key", b"other")])


def test_an_oversized_key_is_refused() -> None:
    """512 bytes are the bound."""
    assert presented_key([(b"api-key", b"k" * 512)]) == b"k" * 512
    with pytest.raises(Unauthenticated):
        presented_key([(b"api-key", b"k" * 513)])


def test_networks_hold_addresses_of_both_families() -> None:
    """IPv4 as such and mapped into IPv6; a Unix socket has no address."""
    networks = Networks(["10.0.0.0/8", "2001:db8::/32"])
    assert "10.1.2.3" in networks
    assert "::ffff:10.1.2.3" in networks
    assert "2001:db8::1" in networks
    assert "11.1.2.3" not in networks
    assert "" not in networks
    assert "10.1.2.3" not in Networks([])


def test_a_trusted_peer_names_its_customer() -> None:
    """Its UUID is believed too; names may come as UTF-8 or percent-encoded."""
    request_id = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
    who = trusted_identity(
        [
            (b"x-customer-id", b"domain-1"),
            (b"x-customer-name", "示例".encode()),
            (b"x-request-id", request_id.upper().encode()),
        ]
    )
    assert who == TrustedIdentity("domain-1", "示例", request_id)
    percent = trusted_identity([(b"x-customer-id", b"a%2Fb"), (b"x-customer-name", b"%E7%A4%BA")])
    assert percent == TrustedIdentity("a/b", "示", None)


def test_without_a_customer_there_is_no_identity() -> None:
    """A name alone says nothing."""
    assert trusted_identity([(b"x-customer-name", b"Somebody")]) is None


def test_a_request_id_that_is_no_uuid_is_not_taken_over() -> None:
    """Ours is used in its place."""
    who = trusted_identity([(b"x-customer-id", b"c"), (b"x-request-id", b"1; DROP TABLE")])
    assert who == TrustedIdentity("c", "", None)


@pytest.mark.parametrize("values", [[b""], [b"x" * 65], [b"a", b"b"], [b"a%0Ab"]])
def test_unusable_customer_ids_are_refused(values: list[bytes]) -> None:
    """Empty, too long, twice, or with a control character."""
    with pytest.raises(BadIdentity):
        trusted_identity([(b"x-customer-id", value) for value in values])
