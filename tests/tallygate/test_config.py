"""The configuration as a whole: what is accepted, and how it says no."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tallygate.config import MAX_BYTES, Config, ConfigInvalid, load, parse

BASE = Path("/etc/tallygate")

# The configuration that interface.md fixes, but for what its comments call optional and is unbuilt.
FULL = """
data_dir: ./var
redis: embedded
database: embedded
partitions: 64
secret_key: ${TALLYGATE_SECRET_KEY}
gateway:
  listen: 127.0.0.1:8080
  admin_listen: 127.0.0.1:8083
  public_url: https://api.example.com
  workers: 1
  tls: null
  trusted_proxies: []
  on_store_down: allow
  journal: {fsync: interval, retention_days: 35, retention_bytes: 10GiB}
control:
  listen: 127.0.0.1:8081
  admin_listen: 127.0.0.1:8082
  public_url: https://meter.example.com
  admin_token: ${TALLYGATE_ADMIN_TOKEN}
  tls: null
routes:
  - name: chat
    path: /v1
    upstream: [http://127.0.0.1:9000]
    strip_prefix: false
    identity: [api_key, koogallery, trusted]
    forward_authorization: false
    timeouts: {connect: 5, head: 300, idle: 300}
    usage: {dialect: auto, inject_stream_usage: auto, normalize: false, on_disconnect: drain, missing: zero}
meters:
  pages: {path: $.usage.pages}
products:
  - product_id: OFFI0001
    name: Chat tokens
    routes: [chat]
    meter: tokens_total
    unit: 1000
    cycle: hour
    charged_by: merchant
    price: {mode: fixed, unit_price: "0.02", currency: CNY}
  - product_id: OFFI0002
    package: {items: [{of: OFFI0001, quota: 100000}], stop_before_excess: true}
billing: {grace: 120s, push_by: "00:12", hold: {}}
customers:
  - {id: cust-1, name: Example, keys: [sk-test], instances: [{id: inst-1, product: OFFI0001}]}
limits: {default: {requests_per_second: null, concurrent: null}}
koogallery:
  site: cn
  base_url: null
  access_key: ${KOO_ACCESS_KEY}
  kit_key: ${KOO_KIT_KEY}
  ak: ${KOO_AK}
  sk: ${KOO_SK}
  push_auth: both
  create_per: line
  agent_apps: []
  jwt_header: Authorization
  constant_header: null
  private_key_file: null
  encrypt_bits: 256
"""


def refusal(text: str, **environ: str) -> str:
    """The message with which `text` is refused."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, environ, base=BASE)
    return str(caught.value)


def test_every_documented_key_is_accepted() -> None:
    """The documented example is a configuration, with all its variables set or none."""
    assert parse(FULL, {}, base=BASE).secret_key is None
    config = parse(FULL, {"TALLYGATE_SECRET_KEY": "s3cret", "KOO_AK": "ak-1"}, base=BASE)
    assert config.secret_key == SecretStr("s3cret")
    assert config.koogallery.ak == SecretStr("ak-1")
    assert config.products[0].unit == 1000
    assert config.customers[0].instances[0].product == "OFFI0001"


def test_an_empty_file_is_all_defaults() -> None:
    """Everything can be left out."""
    assert parse("# nothing yet\n", {}, base=BASE) == Config(data_dir=BASE / "var")


def test_paths_start_at_the_file() -> None:
    """Relative paths do not depend on where the command was typed."""
    text = "data_dir: ../data\ngateway: {tls: {cert: a.pem, key: /keys/b.pem}}\ncontrol:\n"
    config = parse(text, {}, base=BASE)
    assert config.data_dir == BASE / "../data"
    assert config.gateway.tls is not None
    assert (config.gateway.tls.cert, config.gateway.tls.key) == (str(BASE / "a.pem"), "/keys/b.pem")


def test_the_authorities_of_a_route_start_there_too() -> None:
    """Others stay without."""
    text = "routes: [{name: a, path: /a, upstream: ['https://u'], pool: {ca_file: ca.pem}}, "
    config = parse(text + "{name: b, path: /b, upstream: ['https://u']}]", {}, base=BASE)
    files = [route.pool.ca_file for route in config.routes]
    assert files == [str(BASE / "ca.pem"), None]


def test_variables_fill_any_text_and_numbers() -> None:
    """What a variable gives is read as the field wants it."""
    text = "partitions: ${PARTS}\ngateway: {listen: '${HOST:-127.0.0.1}:${PORT}'}"
    config = parse(text, {"PARTS": "8", "PORT": "0"}, base=BASE)
    assert (config.partitions, config.gateway.listen) == (8, "127.0.0.1:0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "routes: [{name: a, path: /v1, upstrem: [http://u]}]",
            "routes[0].upstream: missing; this key is required\n"
            "routes[0].upstrem: unknown key; did you mean 'upstream'?",
        ),
        ("gatway: {}", "gatway: unknown key; did you mean 'gateway'?"),
        (
            "control: {adminToken: x}",
            "control.adminToken: unknown key; did you mean 'admin_token'?",
        ),
        (
            "limits: {default: {zzz: 1}}",
            "limits.default.zzz: unknown key; the nearest valid one is 'tokens_per_minute', "
            "all of them: requests_per_second, burst, tokens_per_minute, concurrent",
        ),
        (
            "meters: {pages: {json_path: $.a}}",
            "meters.pages.path: missing; this key is required\n"
            "meters.pages.json_path: unknown key; did you mean 'path'?",
        ),
    ],
)
def test_an_unknown_key_names_place_and_nearest_key(text: str, message: str) -> None:
    """One line per problem: the place, what is wrong, what was probably meant."""
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[]", "the file must be a mapping of keys to values, such as `routes:`"),
        ("1: 2", "1: the key 1 is not text; put it in quotes"),
        ("partitions: 0", "partitions: must be greater than or equal to 1"),
        ("partitions: 5000", "partitions: must be less than or equal to 4096"),
        ("gateway: [x]", "gateway: must be a section: a mapping of keys to values"),
        ("routes: {}", "routes: must be a list"),
        ("meters: [a]", "meters: must be a mapping of names to values"),
        (
            "billing: {push_by: 12:30}",
            "billing.push_by: must be text, but YAML reads something else here; put it in quotes",
        ),
        ("billing: {grace: 2m}", "billing.grace: must be seconds, such as 120s"),
        (
            "billing: {push_by: '00:15'}",
            'billing.push_by: must be "00:MM" in quotes, MM from 00 to 14: minutes past each hour, '
            "before the collection at minute 15",
        ),
        ("billing: {hold: {times: 1}}", "billing.hold.times: must be greater than 1"),
        (
            "billing: {hold: {estimated_share: 1}}",
            "billing.hold.estimated_share: must be less than 1",
        ),
        (
            "billing: {hold: {baseline: 2}}",
            "billing.hold.baseline: must be greater than or equal to 3",
        ),
        ("koogallery: {site: us}", "koogallery.site: must be 'cn', 'intl' or 'eu'"),
        (
            "gateway: {trusted_proxies: [10.0.0.1/8]}",
            "gateway.trusted_proxies: 10.0.0.1/8 has host bits set",
        ),
        (
            "redis: ${REDIS}",
            "redis: the environment variable REDIS is not set; set it or write ${REDIS:-default}",
        ),
        (
            "partitions: ${",
            "partitions: not a reference: write ${NAME} or ${NAME:-default}, or $${ for a literal ${",
        ),
    ],
)
def test_a_wrong_value_says_what_to_write(text: str, line: str) -> None:
    """Messages speak of the file, not of the validator."""
    assert refusal(text) == line


@pytest.mark.parametrize(
    "text",
    [
        "secret_key: [hunter2hunter2]",
        "control: {admin_token: {a: hunter2hunter2}}",
        "customers: [hunter2hunter2]",
        "customers: [{id: c, keys: hunter2hunter2}]",
        "customers: [{id: c, keys: [[hunter2hunter2]]}]",
        "customers: [{id: c, keys: [hunter2hunter2, hunter2hunter2]}]",
        "customers: [{id: c, keys: [hunter2hunter2], key: 1}]",
        "customers: [{id: c, key_hashes: [hunter2hunter2]}]",
        "koogallery: {access_key: [hunter2hunter2]}",
        "koogallery: {agent_apps: [{app_key: '', app_secret: hunter2hunter2}]}",
        "koogallery: {constant_header: {name: X-A, value: ' hunter2hunter2'}}",
        "koogallery: {constant_header: {name: Host, value: hunter2hunter2}}",
        "redis: memcached://:hunter2hunter2@host",
        "redis: redis+cluster://:hunter2hunter2@host:port",
        "database: postgresql+psycopg://u:hunter2hunter2@host",
        "routes: [{name: a, path: /, upstream: ['htp://u:hunter2hunter2@host']}]",
        "routes: [{name: a, path: /, upstream: ['http://u:hunter2hunter2@host']}]",
        "secret_key: 'hunter2hunter2",
        "secret_key: ${hunter2hunter2!}",
        "partitions: hunter2hunter2",
    ],
)
def test_no_message_shows_a_secret(text: str) -> None:
    """Also not what stands in the wrong place, or behind the error that is shown."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, {}, base=BASE)
    shown = [str(caught.value), repr(caught.value), str(caught.value.__cause__)]
    assert "hunter2" not in "".join([*shown, str(caught.value.__context__)])


def test_no_repr_shows_a_secret() -> None:
    """Keys, tokens and URLs with passwords stay out of logs."""
    text = """
redis: redis://:hunter2@host
secret_key: hunter2
control: {admin_token: hunter2}
koogallery: {access_key: hunter2, ak: hunter2, sk: hunter2}
customers: [{id: c, keys: [hunter2]}]
"""
    config = parse(text, {}, base=BASE)
    assert "hunter2" not in repr(config) + str(config)


def test_all_problems_are_told_at_once() -> None:
    """Nobody has to start the command once per mistake; a place is told of once."""
    told = refusal("partitions: ${PARTS}\nredis: 5\nproducts: [{}]\n").splitlines()
    assert [line.split(":")[0] for line in told] == [
        "partitions",
        "redis",
        "products[0].product_id",
    ]


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    """Messages about a file begin with its name."""
    path = tmp_path / "tallygate.yaml"
    path.write_bytes(b"\xef\xbb\xbfpartitions: 8\n")
    config = load(path, {})
    assert (config.partitions, config.data_dir) == (8, tmp_path / "var")
    path.write_text("redis: 1\ndatabase: 2\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(path, {})
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [str(path)] * 2


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "no such file"), (b"a: \xff", "UTF-8"), (b"#" * (MAX_BYTES + 1), "larger than")],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: bytes | None, told: str) -> None:
    """Missing, binary, too large: one line each."""
    path = tmp_path / "tallygate.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigInvalid, match=told):
        load(path, {})


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """An OSError becomes a line too."""
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load(tmp_path, {})
