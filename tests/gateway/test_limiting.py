"""Limits in a gateway that really runs, through both shells, on a bank in memory."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.limiting import Limiting
from metering.catalogue import Package, PackageItem, Product
from metering.lending import account_of
from tests.fakes import FakeClock
from tests.gateway.lender import FakeBank, limits_of, open_calls
from tests.gateway.running import Running, gateway
from tests.servers import Received, eventually, upstream

pytestmark = pytest.mark.usefixtures("shell")

ACCOUNT = account_of("cust-1", "T")
REPLY = json.dumps({"usage": {"prompt_tokens": 60, "completion_tokens": 40}}).encode()
CALL = b'{"model": "m", "max_tokens": 200, "messages": []}'
JSON = {"Content-Type": "application/json"}


def pack(**terms: Any) -> Product:
    """A package of the tokens that the gateway sells."""
    items = [PackageItem(of="T", quota=1000)]  # type: ignore[arg-type]  # pydantic makes a Decimal
    return Product(
        product_id="PACK", package=Package(items=items, stop_before_excess=True, **terms)
    )


def answers(request: Received) -> None:
    """100 tokens."""
    request.json(REPLY)


@contextmanager
def limited(
    bank: FakeBank, settings: Any = None, *, package: Product | None = None, handler: Any = answers,
    go_on_alone: bool = True,
) -> Iterator[tuple[Running, Limiting]]:  # fmt: skip
    """A gateway with such limits before an upstream that answers 100 tokens."""
    limits = limits_of(
        bank, settings or {}, FakeClock(), loop_time=time.monotonic, go_on_alone=go_on_alone
    )
    packages = (package,) if package else ()
    with (
        upstream(handler) as server,
        gateway(server.url, limiting=limits, packages=packages) as running,
    ):
        yield running, limits


def call(running: Running, body: bytes = CALL) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON and headers of one call."""
    reply, text = running.ask("POST", "/v1/chat/completions", body, JSON)
    return reply.status, json.loads(text), {k.lower(): v for k, v in reply.getheaders()}


def test_calls_without_limits_need_no_bank() -> None:
    """Nobody is asked."""
    bank = FakeBank()
    with limited(bank) as (running, _):
        status, _, headers = call(running)
    assert (status, bank.asked) == (200, [])
    assert "ratelimit" not in headers


def test_a_rate_lets_so_many_in_and_says_when_there_are_more() -> None:
    """429 with the standard fields."""
    bank = FakeBank()
    with limited(bank, {"default": {"requests_per_second": 2}}) as (running, limits):
        first, second, third = call(running), call(running), call(running)
    assert [first[0], second[0], third[0]] == [200, 200, 429]
    assert third[1]["error"]["code"] == "rate_limited"
    assert third[1]["error"]["limit"] == "customer"
    assert third[2]["retry-after"] == "2"
    assert first[2]["ratelimit-policy"] == third[2]["ratelimit-policy"] == '"customer";q=2;w=1'
    assert third[2]["ratelimit"] == '"customer";r=0;t=1'
    assert limits.desk.refusals == {("customer", "rate_limited"): 1}


def test_a_limit_that_only_reports_refuses_nobody() -> None:
    """It is counted, and told to nobody."""
    bank = FakeBank()
    limits: dict[str, Any] = {"default": {"requests_per_second": 0.01}, "shadow": True}
    with limited(bank, limits) as (running, limiting):
        assert call(running)[0] == 200
        eventually(lambda: limiting.lending.asks)  # until then nobody knows
        assert [call(running)[0] for _ in range(5)] == [200] * 5
        eventually(lambda: limiting.desk.shadow_refusals)
        assert not limiting.desk.refusals
        assert "ratelimit" not in call(running)[2]


def test_only_so_many_calls_are_open_at_once() -> None:
    """Those who come meanwhile wait a moment, and are told to come again."""
    bank, go_on = FakeBank(), threading.Event()

    def slow(request: Received) -> None:
        go_on.wait(10)
        answers(request)

    with (
        limited(bank, {"default": {"concurrent": 2}}, handler=slow) as (running, limits),
        ThreadPoolExecutor(3) as pool,
    ):
        calls = [pool.submit(call, running) for _ in range(3)]
        eventually(lambda: limits.desk.refusals)
        go_on.set()
        answered = sorted(each.result()[0] for each in calls)
        assert answered == [200, 200, 429]
        refused = next(each.result() for each in calls if each.result()[0] == 429)
        assert refused[1]["error"]["code"] == "too_many_concurrent"
        assert refused[2]["retry-after"] == "1"
        assert (
            refused[2]["ratelimit-policy"] == '"customer-concurrent";q=2;qu="concurrent-requests"'
        )
        assert call(running)[0] == 200  # the slots are back


def test_a_slot_that_comes_free_goes_to_who_waits() -> None:
    """It is not refused at the next chance to be."""
    bank, go_on = FakeBank(), threading.Event()

    def slow(request: Received) -> None:
        go_on.wait(10)
        answers(request)

    with (
        limited(bank, {"default": {"concurrent": 1}}, handler=slow) as (running, limits),
        ThreadPoolExecutor(2) as pool,
    ):
        first = pool.submit(call, running)
        eventually(lambda: running.kept.open)
        eventually(lambda: limits.desk.active and open_calls(next(iter(limits.desk.active))))
        second = pool.submit(call, running)
        eventually(lambda: limits.desk.waiting)
        go_on.set()
        assert [first.result()[0], second.result()[0]] == [200, 200]
        assert limits.desk.waits["granted"] == 2


def test_a_package_stops_when_the_ledger_says_it_is_used_up() -> None:
    """402, with what is left and since when that is known."""
    bank = FakeBank(left={ACCOUNT: 199})
    with limited(bank, package=pack()) as (running, limits):
        status, body, _ = call(running)  # needs up to 200 and its prompt
    error = body["error"]
    assert (status, error["code"]) == (402, "package_used_up")
    assert error["remaining"] == 199
    assert error["needed"] == 200 + len(CALL)
    assert error["unit"] == "tokens_total"
    assert error["as_of"] == "1970-01-01T00:00:01.000+00:00"
    assert limits.desk.refusals == {("package", "package_used_up"): 1}
    assert not running.kept.records


def test_an_unknown_size_takes_what_is_left() -> None:
    """The last units may go to a call of which only a mean is known."""
    bank = FakeBank(left={ACCOUNT: 7})
    with limited(bank, package=pack()) as (running, limits):
        assert call(running, b"{}")[0] == 200
        running.idle()
        (purse,) = limits.desk.active
        assert purse.used == 100  # type: ignore[union-attr]
        bank.left[ACCOUNT] = 0
        eventually(lambda: call(running, b"{}")[0] == 402)


def test_what_others_reserved_may_come_back() -> None:
    """429: there is some left, and somebody holds it."""
    bank = FakeBank(left={ACCOUNT: 1000}, others={ACCOUNT: 900})
    with limited(bank, package=pack()) as (running, _):
        status, body, headers = call(running)
        assert (status, body["error"]["code"]) == (429, "package_reserved")
        assert body["error"]["remaining"] == 1000
        assert headers["retry-after"] == "1"
        bank.others.clear()
        eventually(lambda: call(running)[0] == 200)


def test_slots_that_only_report_are_taken_once_and_given_back() -> None:
    """However many are open beyond them."""
    limits: dict[str, Any] = {"default": {"concurrent": 1}, "shadow": True}
    with limited(FakeBank(others={}), limits) as (running, limiting):
        for _ in range(5):
            assert call(running)[0] == 200
        running.idle()
        assert not any(open_calls(purse) for purse in limiting.desk.active)


def test_a_call_waits_until_others_give_back() -> None:
    """Within the wait it is as if nothing lacked."""
    bank = FakeBank(left={ACCOUNT: 1000}, others={ACCOUNT: 900})
    with limited(bank, package=pack()) as (running, limits), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call, running)
        eventually(lambda: limits.desk.waiting)
        bank.others.clear()
        assert waiting.result()[0] == 200


def test_without_the_bank_a_package_is_not_given_away() -> None:
    """503: nobody knows whether it suffices. It returns to normal by itself."""
    bank = FakeBank(left={ACCOUNT: 1000}, away=True)
    with limited(bank, package=pack()) as (running, limits):
        status, body, headers = call(running)
        assert (status, body["error"]["code"]) == (503, "quota_unavailable")
        assert headers["retry-after"] == "1"
        eventually(lambda: limits.desk.away)
        bank.away = False
        eventually(lambda: not limits.desk.away)
        assert call(running)[0] == 200


def test_what_is_leased_serves_without_the_bank() -> None:
    """As long as the lease lasts."""
    bank = FakeBank(left={ACCOUNT: 100_000})
    with limited(bank, package=pack()) as (running, limits):
        assert call(running)[0] == 200
        (purse,) = limits.desk.active
        # What is at hand goes back little by little while nobody calls.
        eventually(lambda: call(running)[0] == 200 and purse.spare > 1000)
        bank.away = True
        assert call(running)[0] == 200


@pytest.mark.parametrize("go_on_alone", [True, False])
def test_rates_without_the_bank_follow_the_policy(go_on_alone: bool) -> None:
    """`allow`: this worker counts for itself; `deny`: nobody."""
    bank = FakeBank(away=True)
    limits = {"default": {"requests_per_second": 2, "concurrent": 5}}
    with limited(bank, limits, go_on_alone=go_on_alone) as (running, limiting):
        call(running)
        eventually(lambda: limiting.desk.away)
        time.sleep(0)
        codes = [call(running)[0] for _ in range(5)]
    if go_on_alone:
        assert 200 in codes
        assert codes[-1] == 429
    else:
        assert codes == [503] * 5


def test_a_call_that_fails_gives_everything_back() -> None:
    """Nothing stays reserved when nobody answers."""
    bank = FakeBank(left={ACCOUNT: 1000})

    def hangs_up(request: Received) -> None:
        request.hang_up()

    limits = {"default": {"concurrent": 3, "tokens_per_minute": 5000}}
    with limited(bank, limits, package=pack(), handler=hangs_up) as (running, limiting):
        assert call(running)[0] == 502
        running.idle()
        for purse in limiting.desk.active:
            assert open_calls(purse) == 0
            assert getattr(purse, "reserved", 0) == 0


def test_a_client_that_leaves_while_it_waits_takes_nothing() -> None:
    """And nothing is sent upstream for it."""
    bank = FakeBank(left={ACCOUNT: 1000}, others={ACCOUNT: 900})
    seen: list[Received] = []
    with limited(bank, package=pack(), handler=seen.append) as (running, limits):
        with running.connect() as connection:
            headers = {"Authorization": "Bearer sk-test", **JSON}
            connection.request("POST", "/v1/chat/completions", CALL, headers)
            eventually(lambda: limits.desk.waiting)
        running.idle()
        eventually(lambda: not limits.desk.waiting)
        assert not seen
        assert not any(open_calls(purse) or purse.spare for purse in limits.desk.active)


def test_more_of_a_body_comes_while_its_call_waits() -> None:
    """All of it goes upstream."""
    bank = FakeBank(left={ACCOUNT: 100_000}, others={ACCOUNT: 100_000})
    with limited(bank, package=pack()) as (running, limits), ThreadPoolExecutor(1) as pool:

        def pieces() -> Iterator[bytes]:
            yield b'{"max_tokens": 5, "x": "'
            eventually(lambda: limits.desk.waiting)
            for _ in range(50):
                yield b"y" * 4000
            bank.others.clear()
            yield b'"}'

        def post() -> int:
            headers = {"Transfer-Encoding": "chunked", "Content-Type": "text/plain"}
            reply, _ = running.ask("POST", "/v1/messages", pieces(), headers)
            return reply.status

        assert pool.submit(post).result() == 200
        assert running.quantities()["bytes_in"] == 24 + 200_000 + 2


def test_limits_of_key_route_and_customer_add_up() -> None:
    """Each of them is shown; the narrowest one stops."""
    bank = FakeBank()
    limits = {
        "default": {"requests_per_second": 100},
        "customers": {"cust-1": {"concurrent": 50}},
        "routes": {"chat": {"tokens_per_minute": 1000}},
    }
    with limited(bank, limits) as (running, _):
        status, _, headers = call(running)
    assert status == 200
    assert headers["ratelimit-policy"] == (
        '"customer-concurrent";q=50;qu="concurrent-requests", "customer";q=100;w=1, '
        '"route-tokens";q=1000;qu="tokens";w=60'
    )


def test_tokens_per_minute_count_what_was_used() -> None:
    """What was estimated is made good by what the reply says."""
    bank = FakeBank()
    with limited(bank, {"default": {"tokens_per_minute": 1000}}) as (running, _):
        assert call(running)[0] == 200
        running.idle()
        eventually(lambda: sum(bank.rates.values()) == 900)  # the rest goes back


def test_figures_are_shown_to_operators() -> None:
    """Leases, refusals by limit and reason, waits."""
    from prometheus_client import CollectorRegistry, generate_latest

    from gateway.limit_metrics import LimitMetrics

    bank = FakeBank(left={ACCOUNT: 0})
    with limited(bank, package=pack()) as (running, limits):
        call(running)
        registry = CollectorRegistry()
        registry.register(LimitMetrics(limits))
        shown = generate_latest(registry).decode()
    assert 'gateway_limit_refusals_total{limit="package",reason="package_used_up"} 1.0' in shown
    assert 'gateway_limit_waits_total{outcome="refused"} 1.0' in shown
    assert "# TYPE gateway_package_overshoot_bound gauge" in shown
    assert 'gateway_limit_leases{kind="package"} ' in shown
