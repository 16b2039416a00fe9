"""The configuration of a throw-away installation."""

from pathlib import Path

import yaml

from tallygate.config import load, parse
from tallygate.config_schema import Config
from tallygate.drills.configuration import WORKERS, callers, throw_away

GIVEN = """
data_dir: /somewhere/dear
redis: redis://dear:6379/0
partitions: 8
gateway: {listen: 0.0.0.0:80, journal: {fsync: always}}
routes:
  - {name: chat, path: /v1, upstream: [http://dear:1], identity: [trusted]}
  - {name: talk, path: /, upstream: [http://dear:2], usage: {dialect: anthropic}}
meters: {pages: {path: $.usage.pages}}
products:
  - {product_id: T, routes: [chat], meter: tokens_total, name: "costs $$1"}
  - {product_id: P, package: {items: [{of: T, quota: 5}]}}
customers: [{id: dear, keys: [sk-dear]}]
koogallery: {access_key: dear-key}
"""


def written(folder: Path, given: Config | None) -> Config:
    """The drill's configuration as its processes read it."""
    path = folder / "tallygate.yaml"
    path.write_text(yaml.safe_dump(throw_away(given, "http://127.0.0.1:9", {})))
    return load(path, {})


def test_without_a_file_there_is_one_route_and_three_products(tmp_path: Path) -> None:
    """Two workers, six customers; the last has bought nothing."""
    config = written(tmp_path, None)
    assert config.gateway.workers == WORKERS == 2
    assert [len(customer.instances) for customer in config.customers] == [3, 3, 3, 3, 3, 0]
    assert {caller.customer_id for caller in callers(None)} == {c.id for c in config.customers}


def test_a_file_gives_what_is_sold_and_nothing_else(tmp_path: Path) -> None:
    """Stores, listeners, customers and keys are the drill's own, whatever stands in the file."""
    config = written(tmp_path, parse(GIVEN, {}, base=tmp_path))
    assert (config.data_dir, config.redis) == (tmp_path / "var", "embedded")
    assert config.partitions == 8
    assert config.gateway.journal.fsync == "always"
    assert config.gateway.listen == "127.0.0.1:0"
    assert [route.name for route in config.routes] == ["chat", "talk"]
    assert {url for route in config.routes for url in route.upstream} == {"http://127.0.0.1:9"}
    assert [(p.product_id, p.name) for p in config.products] == [("T", "costs $1")]
    assert list(config.meters) == ["pages"]
    assert config.koogallery.access_key is None
    assert all(customer.id.startswith("drill-") for customer in config.customers)


def test_every_customer_calls_every_route(tmp_path: Path) -> None:
    """At a path that leads to it alone, in the language its usage is read in."""
    given = parse(GIVEN, {}, base=tmp_path)
    found = callers(given)
    assert len(found) == 12
    assert {(caller.path, caller.anthropic) for caller in found} == {
        ("/drill-0/v1/chat/completions", False),
        ("/drill-1/v1/messages", True),
    }


def test_a_drill_may_change_settings() -> None:
    """Those of a section one by one, others as a whole."""
    changes = {"redis": "redis://127.0.0.1:1/0", "gateway": {"journal": {"fsync": "always"}}}
    config = throw_away(None, "http://127.0.0.1:9", changes)
    assert config["redis"] == "redis://127.0.0.1:1/0"
    assert config["gateway"]["journal"] == {"fsync": "always"}
    assert config["gateway"]["workers"] == WORKERS
