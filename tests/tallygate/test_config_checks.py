"""Rules between sections."""

from pathlib import Path

import pytest

from metering.keys import sha256_hex
from tallygate.config import ConfigInvalid, parse

SHOP = """
routes: [{name: chat, path: /v1, upstream: [http://u:1]}, {name: img, path: /img, upstream: [http://u:2]}]
meters: {pages: {path: $.usage.pages}}
products:
  - {product_id: P1, routes: [chat], meter: tokens_total, unit: 1000}
  - {product_id: P2, routes: [chat, img], meter: pages}
  - {product_id: K1, package: {items: [{of: P1, quota: 5}, {of: P2, quota: 1.5}]}}
customers:
  - {id: c1, keys: [key-one-1], instances: [{id: i1, product: P1}]}
  - {id: c2, keys: [key-two-2], instances: [{id: i2, product: P1}, {id: i3, product: P2}, {id: k1, product: K1}]}
"""


def problems(text: str) -> list[str]:
    """What is wrong with `text`, line by line."""
    try:
        parse(text, {}, base=Path("/"))
    except ConfigInvalid as invalid:
        return str(invalid).splitlines()
    return []


def test_a_shop_is_accepted() -> None:
    """Two routes, two products, a package of both, two customers, one with the package."""
    assert problems(SHOP) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("name: img,", "name: chat,", "routes[1].name: 'chat' stands at routes[0].name too; give each its own name"),
        ("path: /img", "path: /v1/", "routes[1].path: '/v1' stands at routes[0].path too; give each its own path"),
        ("path: /img", "path: '/i?a=b'", "routes[1].path: can never match: a path has no ?, # or blanks"),
        ("http://u:2", "http://", "routes[1].upstream[0]: must be a URL such as http://127.0.0.1:9000"),
        ("http://u:2", "http://u:99999", "routes[1].upstream[0]: must be a URL such as http://127.0.0.1:9000"),
        ("http://u:2", "'http://u?a=b'", "routes[1].upstream[0]: only scheme, host, port and path belong here; remove the rest"),
        ("http://u:2", "http+unix:///", "routes[1].upstream[0]: must be a socket's absolute path such as http+unix:///run/app.sock"),
        ("http://u:2", "'http+unix:///s?a'", "routes[1].upstream[0]: must be a socket's absolute path such as http+unix:///run/app.sock"),
        ("path: /img,", "path: /img, health: {max_eject: 1},", "routes[1].health.max_eject: must not be less than eject"),
        ("{pages:", "{pages: {path: $.a}, requests:", "meters.requests: this meter is built in and cannot be declared again; choose another name"),
        ("id: P2,", "id: P1,", "products[1].product_id: 'P1' stands at products[0].product_id too; give each its own product id"),
        ("routes: [chat, img]", "routes: [chat, imp]", "products[1].routes[1]: there is no route 'imp'; known: chat, img"),
        ("routes: [chat, img], ", "", "products[1].routes: missing; name the routes it is sold on; known: chat, img"),
        ("{path: $.usage.pages}", "{path: $.a, count: bytes}", "meters.pages: count bytes is of requests; add `of: request`"),
        ("{path: $.usage.pages}", "{path: $.a, of: request, count: bytes, times: 2}", "meters.pages: times belongs to numbers; remove it or count"),
        ("path: /img", "path: /img, usage: {dialect: none, normalize: true}", "routes[1].usage: normalize needs the usage that dialect none does not read"),
        ("{of: P2", "{of: P1", "products[2].package.items[1].of: 'P1' stands at products[2].package.items[0].of too; give each its own product"),
        ("{of: P2", "{of: K1", "products[2].package.items[1].of: there is no pay-per-use product 'K1'; known: P1, P2"),
        ("K1, package", "K1, unit: 2, package", "products[2].unit: belongs to the products a package holds quota for; remove it here"),
        ("id: c2", "id: c1", "customers[1].id: 'c1' stands at customers[0].id too; give each its own id"),
        ("id: i3", "id: i1", "customers[1].instances[1].id: 'i1' stands at customers[0].instances[0].id too; give each its own id"),
        ("i3, product: P2", "i3, product: P3", "customers[1].instances[1].product: there is no product 'P3'; known: K1, P1, P2"),
        ("key-two-2", "key-one-1", "customers[1].keys[0]: the same value stands at customers[0].keys[0] too; give each its own key"),
        ("key-two-2", "short1", "customers[1].keys[0]: too short; a key has at least 7 characters"),
        ("key-two-2", "'with blank'", "customers[1].keys[0]: no HTTP header can carry it; use printable ASCII, no blanks"),
        ("key-two-2", "schlüssel", "customers[1].keys[0]: no HTTP header can carry it; use printable ASCII, no blanks"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_named(old: str, new: str, line: str) -> None:
    """One change to a good shop gives a line about its place."""
    assert old in SHOP
    head, _, tail = SHOP.rpartition(old)
    assert line in problems(head + new + tail)


def test_a_meter_must_exist() -> None:
    """Built in, or declared; the message lists both."""
    missing, unknown = (
        problems(SHOP.replace(", meter: pages", "")),
        problems(SHOP.replace("meter: pages", "meter: page")),
    )
    assert missing[0].startswith("products[1].meter: missing; known: ")
    assert unknown[0].startswith("products[1].meter: there is no meter 'page'; known: ")
    assert "pages" in unknown[0]
    assert "tokens_out" in unknown[0]


def test_a_key_and_its_hash_are_the_same_key() -> None:
    """Two customers cannot share a key in two spellings."""
    hashed = SHOP.replace("keys: [key-two-2]", f"key_hashes: [{sha256_hex('key-one-1')}]")
    assert problems(hashed) == [
        "customers[1].key_hashes[0]: the same value stands at customers[0].keys[0] too; "
        "give each its own key"
    ]


KEYS_AS_SECTIONS = """
routes: [{name: chat, path: /v1, upstream: ["http://u:1"]}]
customers:
  - id: c1
    keys:
      - sk-plain
      - {key: key-one-1, name: laptop, expires: 2027-01-31T00:00:00Z, routes: [chat]}
      - {hash: HASH, expires: 2027-01-31}
""".replace("HASH", sha256_hex("key-two-2"))


def test_a_key_may_have_a_section() -> None:
    """With an end as YAML reads times: a day is its first moment, in UTC."""
    assert problems(KEYS_AS_SECTIONS) == []
    config = parse(KEYS_AS_SECTIONS, {}, base=Path("/"))
    ends = [key.expires_ms for key in config.customers[0].declared_keys()]
    assert ends == [0, 1_801_353_600_000, 1_801_353_600_000]
    assert "key-one-1" not in repr(config)


@pytest.mark.parametrize("end", ["1969-12-31", "1970-01-01T00:00:00Z", "'0001-01-01'"])
def test_an_end_long_ago_is_an_end(end: str) -> None:
    """Not the number that stands for never."""
    config = parse(KEYS_AS_SECTIONS.replace("2027-01-31}", f"{end}}}"), {}, base=Path("/"))
    assert config.customers[0].declared_keys()[2].expires_ms == 1


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("key: key-one-1,", "", "customers[0].keys[1]: write key, or hash in its place"),
        ("key: key-one-1", f"key: key-one-1, hash: {'ab' * 32}", "customers[0].keys[1]: write key, or hash in its place"),
        ("key: key-one-1", "key: '${MISSING}'", "customers[0].keys[1]: write key, or hash in its place"),
        ("key: key-one-1", "key: short1", "customers[0].keys[1].key: too short; a key has at least 7 characters"),
        ("key: key-one-1", "key: key-two-2", "customers[0].keys[2]: the same value stands at customers[0].keys[1] too; give each its own key"),
        ("key: key-one-1", "key: 12345678", "customers[0].keys[1].key: must be text, but YAML reads something else here; put it in quotes"),
        ("sk-plain", "12345678", "customers[0].keys[0]: must be text, but YAML reads something else here; put it in quotes"),
        ("routes: [chat]", "routes: [chit]", "customers[0].keys[1].routes[0]: there is no route 'chit'; known: chat"),
        ("2027-01-31T00:00:00Z", "soon", "customers[0].keys[1].expires: write a time such as 2027-01-31T00:00:00Z"),
        ("2027-01-31T00:00:00Z", "1801353600", "customers[0].keys[1].expires: write a time such as 2027-01-31T00:00:00Z"),
        ("2027-01-31T00:00:00Z", "'9999-12-31T23:59:59-14:00'", "customers[0].keys[1].expires: beyond all calendars; leave it out for never"),
        ("name: laptop", 'name: "lap\\ttop"', "customers[0].keys[1].name: must not hold control characters"),
        ("name: laptop", "nam: laptop", "customers[0].keys[1].nam: unknown key; did you mean 'name'?"),
        ("hash: ", "hash: A", "customers[0].keys[2].hash: must be the key's SHA-256, 64 lower-case hex digits: printf %s KEY | sha256sum"),
    ],
)  # fmt: skip
def test_what_a_keys_section_cannot_say(old: str, new: str, line: str) -> None:
    """The line names its place as it stands in the file, and never the key."""
    assert line in problems(KEYS_AS_SECTIONS.replace(old, new))


@pytest.mark.parametrize("digest", ["ab", "G" * 64, "A" * 64])
def test_a_key_hash_is_64_hex_digits(digest: str) -> None:
    """Anything else could never match."""
    told = problems(f"customers: [{{id: c, key_hashes: ['{digest}']}}]")
    assert told[0].startswith("customers[0].key_hashes[0]: must be the key's SHA-256")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("redis: localhost", "redis: write embedded, redis://host:port/0 or redis+cluster://host:port,host:port; with TLS rediss:// and rediss+cluster://"),
        ("redis: redis://", "redis: write embedded, redis://host:port/0 or redis+cluster://host:port,host:port; with TLS rediss:// and rediss+cluster://"),
        ("redis: redis+cluster://a:1,", "redis: every node is a host:port; write redis+cluster://host:port,host:port"),
        ("redis: redis+cluster://a:1/3", "redis: not the URL of a cluster, which has only database 0; write redis+cluster://host:port,host:port"),
        ("database: mysql://u:s3cret@h/db", "database: write embedded, or postgresql+psycopg://host:5432/database with user:password@ before the host"),
        ("data_dir: ~/var", "data_dir: ~ is not expanded; write ${HOME}/… instead"),
        ("gateway: {public_url: api.example.com}", "gateway.public_url: must be a URL such as https://api.example.com"),
        ("koogallery: {base_url: 'http://mkt.example.com'}", "koogallery.base_url: the open API is called by https:// alone, but for a simulator on this machine"),
        ("koogallery: {base_url: 'http://[::1'}", "koogallery.base_url: must be a URL such as https://api.example.com"),
        ("gateway: {listen: '8080'}", "gateway.listen: '8080' is not an address; write host:port, such as 127.0.0.1:8080 or [::1]:8080"),
        ("control: {listen: '127.0.0.1:8080'}", "control.listen: gateway.listen listens here too; choose another port"),
        ("gateway: {admin_listen: '127.0.0.1:8079', workers: 4}", "gateway.workers: the admin listener of worker 1 would be at 127.0.0.1:8080, where gateway.listen is; choose another port\n"
         "gateway.workers: the admin listener of worker 2 would be at 127.0.0.1:8081, where control.listen is; choose another port\n"
         "gateway.workers: the admin listener of worker 3 would be at 127.0.0.1:8082, where control.admin_listen is; choose another port"),
        ("gateway: {admin_listen: '127.0.0.1:65534', workers: 4}", "gateway.workers: the admin listener of worker 2 would be at 127.0.0.1:65536; lower gateway.admin_listen"),
        ("gateway: {admin_listen: '8083', workers: 4}", "gateway.admin_listen: '8083' is not an address; write host:port, such as 127.0.0.1:8080 or [::1]:8080"),
    ],
)  # fmt: skip
def test_stores_and_listeners_are_checked(text: str, line: str) -> None:
    """Addresses and URLs are refused before anything starts."""
    assert problems(text) == line.split("\n")


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:p%40ss@h:6380/2",
        "rediss://[::1]:6379/0",
        "redis+cluster://a:1,b:2",
        "rediss+cluster://u:p%40ss@a:1,[::1]:2/0?ssl_check_hostname=false",
    ],
)
def test_a_redis_url_is_accepted(url: str) -> None:
    """With password, port and database, over TLS or not, one server or a cluster."""
    assert problems(f"redis: '{url}'") == []


def test_listeners_may_share_port_zero() -> None:
    """The system chooses a port for each."""
    zero = "listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0"
    assert problems(f"gateway: {{{zero}}}\ncontrol: {{{zero}}}") == []
