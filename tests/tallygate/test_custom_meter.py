"""A meter of the merchant's own, from the call over HTTP to the record that the marketplace collects."""

from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

from tests.installations import configuration, eventually, serve
from tests.market import KEYS, market
from tests.servers import Received, upstream

PRODUCTS = [
    {"product_id": "pages", "routes": ["chat"], "meter": "pages", "unit": 10},
    {"product_id": "calls", "routes": ["chat"], "meter": "requests"},
]
OFFERS = [{"product_id": name, "kind": "ON_DEMAND"} for name in ("pages", "calls")]


def answer(request: Received) -> None:
    """Seven pages each time; for a bad question an error that says so too."""
    if b"bad" in request.target:
        status = b"400 Bad Request"
        request.reply(b'{"usage": {"pages": 7}}', b"Content-Type: application/json", status=status)
    else:
        request.json(b'{"text": "\xc2\xa7", "usage": {"pages": 7, "words": 900}}')


def test_pages_are_sold(tmp_path: Path) -> None:
    """An order of two billing items is two instances, and each call charges both by their own meter;
    the pages that were read from the replies are what is collected."""
    with ExitStack() as stack:
        convert = stack.enter_context(upstream(answer))
        koo = stack.enter_context(market(tmp_path))
        config = configuration(convert.url, products=PRODUCTS, customers=[])
        config["meters"] = {"pages": {"path": "$.usage.pages"}}
        config["koogallery"] = {**KEYS, "base_url": koo.url}
        served = stack.enter_context(serve(tmp_path, config))
        production = f"{served.plane('control')['public']}/koogallery"
        koo.call("PUT", "/settings", {"production_url": production})
        koo.call("PUT", "/products", {"products": OFFERS})
        pages, calls = koo.buy("domain-1", "pages", "calls")
        headers = {"Authorization": f"Bearer {pages.app['password']}"}

        def convert_one(path: str = "/v1/convert") -> int:
            return served.http.post(
                served.gateway + path, headers=headers, content=b"x"
            ).status_code

        eventually(lambda: convert_one() == 200)
        assert [convert_one() for _ in range(4)] == [200] * 4
        assert convert_one("/v1/bad") == 400
        eventually(lambda: koo.used(pages.instance_id) == Decimal("3.5"))
        assert koo.used(calls.instance_id) == 5
        served.counted(35, "pages", customer="domain-1", instance=pages.instance_id)
        pages.ripen()
        koo.act(pages.instance_id, "release")
        koo.act(calls.instance_id, "release")
        koo.collected(pages.instance_id, "3.5")
        koo.collected(calls.instance_id, "5")
        assert served.api("suspense") == {"data": [], "next": None}
        assert koo.findings() == []
