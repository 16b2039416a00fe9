"""Who may call a route, and which instances the call is charged to."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission import Directory, admit_again, admit_key, admit_trusted
from gateway.admitted import Admitted
from gateway.charging import charges_of, until_of
from gateway.credentials import TrustedIdentity
from gateway.errors import (
    EntitlementsStale,
    GatewayError,
    KeyExpired,
    KeyNotForRoute,
    MissingKey,
    NotEntitled,
    Unauthenticated,
)
from gateway.routing import RouteTable, ServedRoute
from gateway.settings import Customer, Route
from gateway.standing_errors import (
    InstanceExpired,
    InstanceFrozen,
    InstanceNotReady,
    InstanceReleased,
)
from metering import keys
from metering.catalogue import Product
from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from metering.usage import Account, Charge

NOW = 1_790_000_000_000
PEPPER = keys.pepper(b"installation secret")
ACTIVE, FROZEN = InstanceStatus.ACTIVE, InstanceStatus.FROZEN
RELEASED, CREATING = InstanceStatus.RELEASED, InstanceStatus.CREATING

IN = Product(product_id="IN", routes=["chat"], meter="tokens_in")
OUT = Product(product_id="OUT", routes=["chat"], meter="tokens_out")
BY_MARKETPLACE = Product(
    product_id="KOO", routes=["chat"], meter="tokens_total", charged_by="agents_gateway"
)


def chat(*products: Product, identity: tuple[str, ...] = ("api_key", "trusted")) -> ServedRoute:
    """The route `chat` on which these products are sold."""
    settings = {"name": "chat", "path": "/", "upstream": ["http://up"], "identity": identity}
    config = Route.model_validate(settings)
    return RouteTable([config], products).routes[0]


def snapshot(*instances: tuple[str, str, InstanceStatus], key: str = "k") -> EntitlementSnapshot:
    """The customer `c` with these instances."""
    return EntitlementSnapshot(
        "c",
        "Name",
        (EntitledKey("1", keys.digest(PEPPER, key)),),
        tuple(EntitledInstance(*i) for i in instances),
    )


def with_key(**said: Any) -> Directory:
    """The customer `c` may use `IN`, with the key `k` of which this is said."""
    known = snapshot(("i", "IN", ACTIVE))
    directory = Directory(PEPPER)
    directory.put(replace(known, keys=(replace(known.keys[0], **said),)))
    return directory


def configured(
    customer_id: str,
    *,
    keys: list[Any],
    key_hashes: Iterable[str] = (),
    instances: Iterable[tuple[str, str]] = (),
) -> Customer:
    """A customer as the configuration declares one."""
    declared = [{"id": instance, "product": product} for instance, product in instances]
    document = {"id": customer_id, "name": "Name", "keys": keys, "instances": declared}
    return Customer.model_validate(document | {"key_hashes": list(key_hashes)})


def verdict(route: ServedRoute, *instances: tuple[str, str, InstanceStatus]) -> Admitted:
    """The verdict on a call of the projected customer with these instances."""
    directory = Directory(PEPPER)
    directory.put(snapshot(*instances))
    return admit_key(directory, route, b"k", NOW)


def test_every_product_charges_its_first_active_instance() -> None:
    """One instance a product, never two, in the order of the snapshot."""
    admitted = verdict(
        chat(IN, OUT),
        ("i1", "IN", RELEASED),
        ("i2", "IN", ACTIVE),
        ("i3", "IN", ACTIVE),
        ("o1", "OUT", ACTIVE),
        ("x1", "OTHER", FROZEN),
    )
    charges = (Charge("i2", "tokens_in"), Charge("o1", "tokens_out"))
    assert admitted == Admitted(Account("c", "chat", charges), "Name", key_id="1")


@pytest.mark.parametrize(
    ("instances", "refusal"),
    [
        ([("i", "IN", FROZEN)], InstanceFrozen),
        ([("i", "IN", FROZEN), ("j", "IN", RELEASED)], InstanceFrozen),
        ([("i", "IN", FROZEN), ("o", "OUT", ACTIVE)], InstanceFrozen),
        ([("i", "IN", RELEASED)], InstanceReleased),
        ([("i", "IN", CREATING)], InstanceNotReady),
        ([("i", "IN", RELEASED), ("o", "OUT", CREATING)], InstanceNotReady),
        ([("x", "OTHER", ACTIVE)], NotEntitled),
        ([], NotEntitled),
    ],
)
def test_without_a_usable_instance_the_call_is_refused(
    instances: list[tuple[str, str, InstanceStatus]], refusal: type[GatewayError]
) -> None:
    """The refusal says what is the matter with the instances."""
    with pytest.raises(refusal) as raised:
        verdict(chat(IN, OUT), *instances)
    assert type(raised.value) is refusal


def test_an_expired_instance_refuses_as_a_frozen_one_does() -> None:
    """Until it is renewed; another one of its product serves in its place."""
    expired = EntitledInstance("i", "IN", ACTIVE, 1000)
    other = EntitledInstance("o", "OUT", ACTIVE, 3000)
    assert charges_of([IN, OUT], (expired, other), now_ms=999) == (
        Charge("i", "tokens_in"),
        Charge("o", "tokens_out"),
    )
    with pytest.raises(InstanceExpired):
        charges_of([IN, OUT], (expired, other), now_ms=1000)
    again = EntitledInstance("j", "IN", ACTIVE)
    charges = charges_of([IN, OUT], (expired, other, again), now_ms=1000)
    assert charges == (Charge("j", "tokens_in"), Charge("o", "tokens_out"))
    assert until_of(charges, (expired, other, again)) == 3000
    assert until_of(charges[:1], (expired, other, again)) == 0


def test_a_verdict_lasts_until_the_first_of_its_instances_ends() -> None:
    """Or its key; a head that is remembered is asked about again then."""
    directory = Directory(PEPPER)
    key = EntitledKey("1", keys.digest(PEPPER, "k"), 4000)
    expiring = EntitledInstance("i", "IN", ACTIVE, 3000)
    for instance, until in ((expiring, 3000), (EntitledInstance("j", "IN", ACTIVE), 4000)):
        directory.put(EntitlementSnapshot("c", "Name", (key,), (instance,)))
        assert admit_key(directory, chat(IN), b"k", 2999).until_ms == until
    directory.put(EntitlementSnapshot("c", "Name", (key,), (expiring,)))
    who = TrustedIdentity("c", "", None)
    assert admit_trusted(directory, chat(IN), who, 2999).until_ms == 3000
    with pytest.raises(InstanceExpired):
        admit_trusted(directory, chat(IN), who, 3000)


def test_who_was_admitted_may_be_asked_about_again() -> None:
    """By the key he came with, or by nobody's word but a trusted peer's."""
    directory = Directory(PEPPER)
    directory.put(snapshot(("i", "IN", ACTIVE)))
    by_key = admit_key(directory, chat(IN), b"k", 0)
    vouched = admit_trusted(directory, chat(IN), TrustedIdentity("c", "Given", None), 0)
    assert admit_again(directory, chat(IN), by_key, 0) == by_key
    assert admit_again(directory, chat(IN), vouched, 0) == vouched
    directory.put(snapshot(("i", "IN", FROZEN)))
    for admitted in (by_key, vouched):
        with pytest.raises(InstanceFrozen):
            admit_again(directory, chat(IN), admitted, 0)
    other = EntitledKey("2", keys.digest(PEPPER, "other"))
    directory.put(EntitlementSnapshot("c", "", (other,), (EntitledInstance("i", "IN", ACTIVE),)))
    with pytest.raises(Unauthenticated):
        admit_again(directory, chat(IN), by_key, 0)
    assert admit_again(directory, chat(IN), vouched, 0).charges
    directory.remove("c")
    with pytest.raises(Unauthenticated):
        admit_again(directory, chat(IN), by_key, 0)
    stranger = admit_trusted(directory, chat(IN), TrustedIdentity("x", "X", None), 0)
    assert admit_again(directory, chat(IN), stranger, 0) == stranger


def test_nobody_is_unknown_before_everybody_is_known() -> None:
    """A client takes 401 for final."""
    directory = Directory(PEPPER)
    directory.complete = False
    with pytest.raises(EntitlementsStale):
        admit_key(directory, chat(IN), b"nobody's", 0)


def test_a_released_product_beside_an_active_one_does_not_refuse() -> None:
    """The customer did not renew one of two items; the other is charged."""
    admitted = verdict(chat(IN, OUT), ("i", "IN", RELEASED), ("o", "OUT", ACTIVE))
    assert admitted.charges == (Charge("o", "tokens_out"),)


def test_a_route_that_sells_nothing_admits_every_customer() -> None:
    """Usage is counted for the customer alone."""
    assert verdict(chat(), ("i", "IN", FROZEN)).charges == ()


def test_a_product_of_the_agents_gateway_does_not_open_the_door_for_keys() -> None:
    """Nobody would charge such a call."""
    with pytest.raises(NotEntitled):
        verdict(chat(BY_MARKETPLACE), ("i", "KOO", ACTIVE))
    both = verdict(chat(IN, BY_MARKETPLACE), ("i", "IN", ACTIVE), ("k", "KOO", ACTIVE))
    assert both.charges == (Charge("i", "tokens_in"),)


def test_the_agents_gateway_vouches_for_its_callers() -> None:
    """They are admitted with and without an instance, and counted for the one they have."""
    directory = Directory(PEPPER)
    who = TrustedIdentity("c", "Name", None)
    for instances, expected in (
        ([("k", "KOO", ACTIVE), ("i", "IN", ACTIVE)], ("i", "k")),
        ([("k", "KOO", FROZEN)], ()),
        ([("i", "IN", RELEASED)], ()),
    ):
        directory.put(snapshot(*instances))
        admitted = admit_trusted(directory, chat(IN, BY_MARKETPLACE), who, 0)
        assert tuple(charge.instance_id for charge in admitted.charges) == expected
    directory.put(snapshot(("i", "IN", FROZEN), ("k", "KOO", ACTIVE)))
    with pytest.raises(InstanceFrozen):
        admit_trusted(directory, chat(IN, BY_MARKETPLACE), who, 0)


def test_a_configured_customer_is_known_by_key_and_by_hash() -> None:
    """Both forms in the configuration name the same customer."""
    hashed = hashlib.sha256(b"sk-hashed").hexdigest()
    customer = configured("s", keys=["sk-plain"], key_hashes=[hashed], instances=[("i", "IN")])
    directory = Directory(PEPPER, [customer])
    for key in (b"sk-plain", b"sk-hashed", b"sk-hashed"):
        admitted = admit_key(directory, chat(IN), key, NOW)
        assert admitted.charges == (Charge("i", "tokens_in"),)
        assert (admitted.customer_id, admitted.customer_name) == ("s", "Name")


def test_a_configured_customer_without_instances_is_admitted_everywhere() -> None:
    """The merchant named it and said nothing of what it bought."""
    directory = Directory(PEPPER, [configured("s", keys=["k"])])
    assert admit_key(directory, chat(IN), b"k", NOW).charges == ()


def test_a_configured_customer_with_other_instances_is_not() -> None:
    """Naming one product leaves the others out."""
    customer = configured("s", keys=["k"], instances=[("i", "OTHER")])
    with pytest.raises(NotEntitled):
        admit_key(Directory(PEPPER, [customer]), chat(IN), b"k", NOW)


def test_two_configured_customers_cannot_share_a_key() -> None:
    """The message names a customer and never the key."""
    twins = [configured("a", keys=["sk-secret"]), configured("b", keys=["sk-secret"])]
    with pytest.raises(ValueError, match="'b'") as refusal:
        Directory(PEPPER, twins)
    assert "sk-secret" not in str(refusal.value)


def test_unknown_and_missing_keys_are_told_apart() -> None:
    """Both are 401 with a challenge."""
    directory = Directory(PEPPER)
    with pytest.raises(Unauthenticated) as unknown:
        admit_key(directory, chat(IN), b"nobody's", NOW)
    with pytest.raises(MissingKey) as missing:
        admit_key(directory, chat(IN), None, NOW)
    assert (unknown.value.code, missing.value.code) == ("invalid_api_key", "missing_api_key")
    assert unknown.value.headers == missing.value.headers == ((b"www-authenticate", b"Bearer"),)


def test_a_route_may_refuse_keys_altogether() -> None:
    """A valid key does not help where only trusted peers may call."""
    directory = Directory(PEPPER)
    directory.put(snapshot(("i", "IN", ACTIVE)))
    with pytest.raises(Unauthenticated):
        admit_key(directory, chat(IN, identity=("trusted",)), b"k", NOW)


def test_a_changed_snapshot_takes_effect_at_once() -> None:
    """No remembered key outlives what the control plane said last."""
    directory = Directory(PEPPER)
    directory.put(snapshot(("i", "IN", ACTIVE)))
    assert admit_key(directory, chat(IN), b"k", NOW).charges
    directory.put(snapshot(("i", "IN", FROZEN)))
    with pytest.raises(InstanceFrozen):
        admit_key(directory, chat(IN), b"k", NOW)
    directory.put(snapshot(("i", "IN", ACTIVE), key="rotated"))
    with pytest.raises(Unauthenticated):
        admit_key(directory, chat(IN), b"k", NOW)
    assert admit_key(directory, chat(IN), b"rotated", NOW).charges
    directory.remove("c")
    with pytest.raises(Unauthenticated):
        admit_key(directory, chat(IN), b"rotated", NOW)


def test_a_projected_customer_adds_to_a_configured_one_and_leaves_it_behind() -> None:
    """What the configuration says stays, before and after."""
    known = configured("c", keys=["k0"], instances=[("i0", "IN")])
    directory = Directory(PEPPER, [known])
    directory.put(snapshot(("o", "OUT", ACTIVE)))
    for key in (b"k0", b"k"):
        assert len(admit_key(directory, chat(IN, OUT), key, NOW).charges) == 2
    directory.remove("c")
    assert admit_key(directory, chat(IN, OUT), b"k0", NOW).charges == (Charge("i0", "tokens_in"),)
    with pytest.raises(Unauthenticated):
        admit_key(directory, chat(IN, OUT), b"k", NOW)


def test_a_trusted_peer_may_bring_a_customer_nobody_knows() -> None:
    """It is counted without an instance."""
    who = TrustedIdentity("stranger", "Stranger", None)
    assert admit_trusted(Directory(PEPPER), chat(IN), who, 0) == Admitted(
        Account("stranger", "chat"), "Stranger"
    )


def test_a_trusted_peer_cannot_bring_a_frozen_customer() -> None:
    """A customer we know stands under the same rules as with a key."""
    directory = Directory(PEPPER)
    directory.put(snapshot(("i", "IN", FROZEN)))
    with pytest.raises(InstanceFrozen):
        admit_trusted(directory, chat(IN), TrustedIdentity("c", "", None), 0)


def test_the_name_a_trusted_peer_gives_wins() -> None:
    """Without one it is the name we know."""
    directory = Directory(PEPPER)
    directory.put(snapshot(("i", "IN", ACTIVE)))
    given = admit_trusted(directory, chat(IN), TrustedIdentity("c", "Given", None), 0)
    silent = admit_trusted(directory, chat(IN), TrustedIdentity("c", "", None), 0)
    assert (given.customer_name, silent.customer_name) == ("Given", "Name")


def test_a_key_is_good_until_it_expires() -> None:
    """To the millisecond; the verdict says how long it holds."""
    directory = with_key(expires=NOW + 1)
    admitted = admit_key(directory, chat(IN), b"k", NOW)
    assert (admitted.key_id, admitted.until_ms) == ("1", NOW + 1)
    assert [admitted.over(at) for at in (NOW, NOW + 1, NOW + 9)] == [False, True, True]
    with pytest.raises(KeyExpired) as refusal:
        admit_key(directory, chat(IN), b"k", NOW + 1)
    assert (refusal.value.status, refusal.value.code) == (401, "key_expired")
    assert refusal.value.headers == Unauthenticated.headers


def test_a_key_without_an_end_never_expires() -> None:
    """Nor does the word of a trusted peer."""
    forever = admit_key(with_key(), chat(IN), b"k", NOW)
    vouched = admit_trusted(with_key(expires=1), chat(IN), TrustedIdentity("c", "", None), 0)
    assert not forever.over(1 << 62)
    assert (vouched.key_id, vouched.until_ms) == ("", 0)


def test_a_key_is_for_its_routes_only() -> None:
    """And is told so before anything about the customer's instances is."""
    assert admit_key(with_key(routes=("speech", "chat")), chat(IN), b"k", NOW).charges
    with pytest.raises(KeyNotForRoute) as refusal:
        admit_key(with_key(routes=("speech",)), chat(OUT), b"k", NOW)
    assert (refusal.value.status, refusal.value.code) == (403, "key_not_for_route")


def test_an_expired_key_for_other_routes_is_an_expired_key() -> None:
    """Nothing is told to whoever holds what was a key once."""
    with pytest.raises(KeyExpired):
        admit_key(with_key(routes=("speech",), expires=NOW), chat(IN), b"k", NOW)


def test_a_configured_key_has_an_end_and_routes_too() -> None:
    """In whichever form it is written, beside plain ones."""
    hashed = hashlib.sha256(b"sk-hashed").hexdigest()
    end = "2026-09-21T14:13:20Z"  # NOW
    written = [
        "sk-plain",
        {"key": "sk-ended", "expires": end, "name": "laptop"},
        {"hash": hashed, "routes": ["speech"]},
    ]
    directory = Directory(PEPPER, [configured("s", keys=written)])
    ids = {
        admit_key(directory, chat(IN), key, NOW - 1).key_id for key in (b"sk-plain", b"sk-ended")
    }
    assert len(ids) == 2
    with pytest.raises(KeyExpired):
        admit_key(directory, chat(IN), b"sk-ended", NOW)
    with pytest.raises(KeyNotForRoute):
        admit_key(directory, chat(IN), b"sk-hashed", NOW)


def test_keys_that_let_somebody_in_were_used() -> None:
    """Each id once, until somebody takes them; a refused one was not."""
    directory = with_key()
    for _ in range(3):
        admit_key(directory, chat(IN), b"k", NOW)
    assert (directory.take_used(), directory.take_used()) == ({"1"}, set())
    for route, key in ((chat(OUT), b"k"), (chat(IN), b"other")):
        with pytest.raises(GatewayError):
            admit_key(directory, route, key, NOW)
    assert directory.take_used() == set()


def test_unknown_keys_leave_nothing_behind() -> None:
    """However many, and however like a known one: each costs the same digest and look-up."""
    directory = with_key()
    for guess in (b"", b"k ", b"K", b"kk", *(b"tg-%d" % n for n in range(1000))):
        assert directory.by_key(guess) is None
    assert directory._remembered == {}
    assert directory.by_key(b"k") is directory.by_key(b"k") is not None


KEYS = [b"k0", b"k1", b"k2", b"k3"]
held = st.dictionaries(st.sampled_from(KEYS[1:]), st.sampled_from([0, NOW, NOW + 9]))


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.one_of(st.none(), held)), min_size=1, max_size=12)
)
def test_a_key_is_whose_snapshot_names_it_last(
    steps: list[tuple[str, dict[bytes, int] | None]],
) -> None:
    """However customers come, change their keys and go; the configured ones stay."""
    directory = Directory(PEPPER, [configured("a", keys=["k0"])])
    named: dict[bytes, tuple[str, int]] = {b"k0": ("a", 0)}
    for customer_id, ends in steps:
        named = {k: who for k, who in named.items() if k == b"k0" or who[0] != customer_id}
        if ends is None:
            directory.remove(customer_id)
        else:
            named |= {key: (customer_id, end) for key, end in ends.items()}
            entitled = [EntitledKey("1", keys.digest(PEPPER, k), e) for k, e in ends.items()]
            directory.put(EntitlementSnapshot(customer_id, "", tuple(entitled)))
        for key in KEYS * 2:  # the second time it is remembered
            assert verdict_of(directory, key) == named.get(key)


def verdict_of(directory: Directory, key: bytes) -> tuple[str, int] | None:
    """Who is admitted with the key, and until when; an expired key says so."""
    try:
        admitted = admit_key(directory, chat(), key, NOW)
    except KeyExpired:
        known = directory.by_key(key)
        assert known is not None
        return known.customer.customer_id, NOW
    except Unauthenticated:
        return None
    return admitted.customer_id, admitted.until_ms
