"""`tallygate simulate serve` and `tallygate serve` beside each other, as two people would start them."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tallygate.sample_licences import VARIABLE, make_key
from tests.installations import Served, configuration, eventually, launched, ports_in_a_row, serve
from tests.tallygate.simulator.kit_merchant import KIT_KEY, PRIVATE_PEM, PUBLIC_PEM
from tests.tallygate.simulator.stage import AK, KEY, SK

_KEYS = {"KOO_ACCESS_KEY": KEY, "KOO_KIT_KEY": KIT_KEY, "KOO_AK": AK, "KOO_SK": SK}


@dataclass
class Market:
    """Both sides. `url` is the simulator's, `address` the merchant's control plane."""

    url: str
    address: str
    merchant: Served
    http: httpx.Client = field(repr=False)

    def sim(self, method: str, path: str, **body: Any) -> Any:
        """A handle of the simulator; what it finds is a failure."""
        reply = self.http.request(method, f"{self.url}/_sim{path}", json=body)
        assert reply.is_success, reply.text
        said = reply.json()
        assert not said.get("findings"), said
        return said

    def sold(self, product_id: str, **line: Any) -> dict[str, str]:
        """An instance of this product, and its order."""
        bought = self.buy("cust-9", product_id, **line)
        return {"instance_id": bought["instance_id"], "order_id": bought["order_id"]}

    def buy(self, customer_id: str, product_id: str, name: str = "", **line: Any) -> dict[str, Any]:
        """The same for a customer of this name, and what the buyer is told (`info`)."""
        lines = [{"product_id": product_id, **line}]
        buyer = {"customer_id": customer_id, "customer_name": name or customer_id}
        order = self.sim("POST", "/orders", lines=lines, **buyer)
        [opened] = self.sim("POST", f"/orders/{order['order_id']}/open")["instances"]
        return {**opened, "order_id": order["order_id"]}


@contextmanager
def market(folder: Path, upstream: str | None = None, **sections: Any) -> Iterator[Market]:
    """A merchant who sells tokens, licences and codes, and joint operation, at a simulator of his own.

    Without an `upstream` nothing answers calls. `sections` of the configuration are added to.
    """
    for name, content in (("kit.pem", PRIVATE_PEM), ("public.pem", PUBLIC_PEM)):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    make_key(folder / "licence.key")
    os.environ[VARIABLE] = str(folder / "licence.key")
    with ExitStack() as stack:
        stack.callback(os.environ.pop, VARIABLE, None)
        url = stack.enter_context(_simulator(folder))
        if upstream is None:
            mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            upstream = f"http://127.0.0.1:{mute.getsockname()[1]}"
        port = ports_in_a_row(1)
        config = _added(_configuration(url, upstream, port), sections)
        merchant = stack.enter_context(serve(folder, config))
        http = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
        address = f"http://127.0.0.1:{port}"
        made = Market(url, address, merchant, http)
        made.sim("PUT", "/settings", production_url=f"{address}/koogallery")
        products = [
            {"product_id": "T"},
            {"product_id": "LICENCE", "kind": "PERIOD"},
            {"product_id": "ONCE", "kind": "ONE_TIME"},
        ]
        made.sim("PUT", "/products", products=products)
        yield made


@contextmanager
def _simulator(folder: Path) -> Iterator[str]:
    words = ["simulate", "serve", "--listen", "127.0.0.1:0"]
    words += ["--public-key", str(folder / "public.pem")]
    with launched(words, folder, {**os.environ, **_KEYS}) as command:
        eventually(lambda: "simulator on" in command.stdout)
        yield command.stdout.split()[-1]


def _configuration(url: str, upstream: str, port: int) -> dict[str, Any]:
    koogallery = {
        "access_key": KEY,
        "kit_key": KIT_KEY,
        "private_key_file": "kit.pem",
        "ak": AK,
        "sk": SK,
        "base_url": url,
        "licence": {"maker": "tallygate.sample_licences:make"},
    }
    config = configuration(upstream, koogallery=koogallery)
    config["control"]["listen"] = f"127.0.0.1:{port}"
    config["control"]["public_url"] = f"http://127.0.0.1:{port}"
    config["products"][0]["name"] = "Chat tokens"
    config["products"] += [
        {"product_id": "LICENCE", "licence": {"kind": "made"}},
        {"product_id": "ONCE", "licence": {"kind": "made", "fingerprint": "required"}},
        {"product_id": "CODE", "licence": {"kind": "code"}},
    ]
    return config


def _added(config: dict[str, Any], sections: dict[str, Any]) -> dict[str, Any]:
    """Lists get longer, sections get more settings."""
    for name, given in sections.items():
        if isinstance(given, list):
            config[name] = [*config.get(name, []), *given]
        else:
            config[name] = {**config.get(name, {}), **given}
    return config
