"""WebSockets through a running gateway: real sockets on both sides."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.sync.server import ServerConnection

from metering.entitlement import EntitledInstance, EntitledKey, EntitlementSnapshot, InstanceStatus
from metering.keys import digest
from metering.usage import Grade, Outcome
from tests.gateway.running import Running, gateway
from tests.gateway.talking import Talker, dial, echo, talker
from tests.servers import eventually


@pytest.fixture
def up() -> Iterator[Talker]:
    """An echo."""
    with talker(echo) as running:
        yield running


@pytest.fixture
def gw(up: Talker) -> Iterator[Running]:
    """A gateway in front of it."""
    with gateway(up.url) as running:
        yield running


def test_messages_pass_in_order_and_keep_their_kind(gw: Running) -> None:
    """Text stays text and binary stays binary, also what is empty or not ASCII."""
    messages: list[str | bytes] = ["", "a", b"", b"\x00\xff", "世界", b"x" * 70_000, "y" * 200_000]
    with dial(gw) as client:
        for message in messages:
            client.send(message)
        assert [client.recv(timeout=10) for _ in messages] == messages


def test_a_session_is_one_record(gw: Running) -> None:
    """Messages and bytes of payload both ways, the time it lasted, one request; charged."""
    with dial(gw) as client:
        for message in ("hello", b"1234", "世界"):
            client.send(message)
            client.recv(timeout=10)
    record = gw.record()
    counted = {meter: quantity.value for meter, quantity in record.quantities.items()}
    assert 0 <= counted.pop("duration_ms") < 10_000
    assert counted == {
        "requests": 1,
        "bytes_in": 15,
        "bytes_out": 15,
        "messages_in": 3,
        "messages_out": 3,
        "tokens_total": 0,
    }
    assert (record.status, record.outcome, record.route) == (101, Outcome.COMPLETE, "chat")
    assert [charge.instance_id for charge in record.charges] == ["inst-1"]
    assert (
        record.quantities["tokens_total"].grade is Grade.MISSING
    )  # sold, and nobody said how many
    assert gw.kept.open == {}


def test_the_upstream_is_told_who_calls_and_not_how_he_proved_it(gw: Running, up: Talker) -> None:
    """The same header hygiene as for requests; the query is left as it came."""
    sent = {"X-Customer-Id": "mallory", "X-Other": "1", "X-Real-Ip": "1.2.3.4"}
    with dial(gw, "/v1/realtime?model=%7Ex&a=b%2Fc", headers=sent) as client:
        given = client.response.headers["x-request-id"] if client.response else ""
    head = eventually(lambda: up.heads)[0]
    assert head.path == "/v1/realtime?model=%7Ex&a=b%2Fc"
    assert head.headers.get_all("X-Customer-Id") == ["cust-1"]
    assert head.headers.get_all("X-Request-Id") == [given]
    assert head.headers["X-Other"] == "1"
    assert "X-Real-Ip" not in head.headers
    assert head.headers["X-Forwarded-For"] == "127.0.0.1"
    assert head.headers["X-Forwarded-Proto"] == "http"
    assert "Authorization" not in head.headers
    assert "Sec-WebSocket-Extensions" not in head.headers
    assert len(head.headers.get_all("Host")) == 1
    assert gw.record().request_id == given


def test_a_browser_sends_its_key_as_a_subprotocol() -> None:
    """It is consumed; of the others the upstream chooses."""
    with talker(echo, subprotocols=["realtime"]) as up, gateway(up.url) as gw:
        offered = ["realtime", "openai-insecure-api-key.sk-test", "beta-v1"]
        with dial(gw, key=None, protocols=offered) as client:
            assert client.subprotocol == "realtime"
        head = eventually(lambda: up.heads)[0]
        assert head.headers.get_all("Sec-WebSocket-Protocol") == ["realtime, beta-v1"]
        assert "sk-test" not in str(head.headers)
        assert gw.record().customer_id == "cust-1"


def test_close_codes_and_reasons_pass_from_the_client(gw: Running, up: Talker) -> None:
    """The upstream learns why."""
    with dial(gw) as client:
        client.close(4001, "enough")
    assert eventually(lambda: up.closes) == [(4001, "enough")]
    assert gw.record().outcome is Outcome.COMPLETE


def test_a_close_without_a_code_goes_on_as_a_normal_one(gw: Running, up: Talker) -> None:
    """1005 is never sent."""
    with dial(gw) as client:
        client.protocol.send_close()
        client.socket.sendall(b"".join(client.protocol.data_to_send()))
        assert eventually(lambda: up.closes) == [(1000, "")]
    assert gw.record().outcome is Outcome.COMPLETE


def test_close_codes_and_reasons_pass_from_the_upstream() -> None:
    """After every message it sent before."""

    def handler(connection: ServerConnection) -> None:
        for number in range(50):
            connection.send(str(number))
        connection.close(4002, "no more")

    with talker(handler) as up, gateway(up.url) as gw, dial(gw) as client:
        assert list(_until_closed(client)) == [str(number) for number in range(50)]
        assert (client.close_code, client.close_reason) == (4002, "no more")
        assert gw.record().outcome is Outcome.COMPLETE
        assert gw.quantities()["messages_out"] == 50


def _until_closed(client: object) -> Iterator[str | bytes]:
    try:
        while True:
            yield client.recv(timeout=10)  # type: ignore[attr-defined]
    except ConnectionClosed:
        return


def test_a_client_that_breaks_off_is_recorded_as_gone(gw: Running, up: Talker) -> None:
    """What it used until then counts; the upstream is told that it went away."""
    with dial(gw) as client:
        client.send("x")
        client.recv(timeout=10)
        client.socket.shutdown(socket.SHUT_RDWR)
        assert eventually(lambda: up.closes) == [(1001, "")]
    record = gw.record()
    assert record.outcome is Outcome.CLIENT_LEFT
    assert record.quantities["messages_in"].value == 1


def test_an_upstream_that_breaks_off_is_recorded_as_cut() -> None:
    """The client is told by a code that it may not have everything."""

    def handler(connection: ServerConnection) -> None:
        connection.send("x")
        connection.socket.shutdown(socket.SHUT_RDWR)

    with talker(handler) as up, gateway(up.url) as gw, dial(gw) as client:
        assert client.recv(timeout=10) == "x"
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=10)
        assert client.close_code == 1011
        assert gw.record().outcome is Outcome.UPSTREAM_CUT
        assert gw.telemetry.upstream_errors["chat", "cut"] == 1


def test_a_message_too_big_ends_the_session() -> None:
    """From the client by 1009; its size is bounded before it is held."""
    settings = {"websocket": {"max_message_bytes": 2048}}
    with talker(echo) as up, gateway(up.url, settings=settings) as gw:
        with dial(gw) as client:
            client.send(b"x" * 2048)
            assert client.recv(timeout=10) == b"x" * 2048
            client.send(b"x" * 2049)
            with pytest.raises(ConnectionClosedError):
                client.recv(timeout=10)
            assert client.close_code == 1009
        assert eventually(lambda: up.closes) == [(1001, "")]
        assert gw.record().outcome is Outcome.CLIENT_LEFT
        assert gw.quantities()["messages_in"] == 1


def test_a_message_of_the_upstream_that_is_too_big_ends_the_session() -> None:
    """The upstream hears 1009; the client, whose fault it is not, 1011."""
    settings = {"websocket": {"max_message_bytes": 2048}}
    with (
        talker(lambda connection: connection.send(b"x" * 2049)) as up,
        gateway(up.url, settings=settings) as gw,
        dial(gw) as client,
    ):
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=10)
        assert client.close_code == 1011
        assert eventually(lambda: up.closes)[0][0] == 1009
        assert gw.record().outcome is Outcome.UPSTREAM_CUT


def test_an_idle_session_is_closed() -> None:
    """By 1001, to both sides; it is complete."""
    with talker(echo) as up, gateway(up.url, timeouts={"idle": 0.3}) as gw, dial(gw) as client:
        with pytest.raises(ConnectionClosedOK):
            client.recv(timeout=10)
        assert (client.close_code, client.close_reason) == (1001, "idle")
        assert eventually(lambda: up.closes) == [(1001, "")]
        assert gw.record().outcome is Outcome.COMPLETE


def test_a_session_may_last_only_so_long() -> None:
    """Where that is configured, whether anything passes or not."""
    settings = {"websocket": {"max_duration": 0.3}}
    with talker(echo) as up, gateway(up.url, settings=settings) as gw, dial(gw) as client:
        with suppress(ConnectionClosedOK):
            while True:
                client.send("x")
                client.recv(timeout=10)
        assert (client.close_code, client.close_reason) == (1001, "session limit")
        assert gw.record().outcome is Outcome.COMPLETE


RESPONSE = (
    '{"type":"response.done","response":{"id":"r","usage":{"total_tokens":30,"input_tokens":20,'
    '"output_tokens":10,"input_token_details":{"cached_tokens":5}}}}'
)


def test_tokens_are_added_up_over_the_responses_of_a_session() -> None:
    """The last response does not replace the others."""

    def handler(connection: ServerConnection) -> None:
        connection.send('{"type":"session.created"}')
        for _ in connection:
            connection.send('{"type":"response.created","response":{"id":"r","usage":null}}')
            connection.send(RESPONSE)

    with talker(handler) as up, gateway(up.url) as gw:
        with dial(gw) as client:
            client.recv(timeout=10)
            for _ in range(3):
                client.send("go on")
                assert [client.recv(timeout=10) for _ in range(2)][1] == RESPONSE
        found = gw.record().quantities
        tokens = {meter: found[meter] for meter in found if meter.startswith("tokens")}
        assert tokens == {
            "tokens_in": (60, Grade.EXACT),
            "tokens_out": (30, Grade.EXACT),
            "tokens_total": (90, Grade.EXACT),
            "tokens_cached": (15, Grade.EXACT),
        }


STRETCHES = {"websocket": {"record_every": 0.3}}


def test_a_long_session_is_recorded_while_it_lasts() -> None:
    """Each stretch by an id of its own; together they are the session, counted as one request."""
    with talker(echo) as up, gateway(up.url, settings=STRETCHES) as gw:
        sent = 0
        with dial(gw) as client:
            while len(gw.kept.records) < 2:
                client.send("x")
                client.recv(timeout=10)
                sent += 1
        gw.idle()
        records = gw.kept.records
        first = records[0].request_id
        ids = [record.request_id for record in records]
        assert ids == [first, *(f"{first}.{number}" for number in range(1, len(records)))]
        for meter, total in {"requests": 1, "messages_in": sent, "messages_out": sent}.items():
            assert sum(record.quantities[meter].value for record in records) == total
        assert all(record.charges for record in records)
        assert gw.kept.begun == len(records)
        assert gw.kept.open == {}


def test_a_stretch_that_cannot_be_noted_ends_the_session() -> None:
    """What follows would be uncounted; what was is recorded."""
    with talker(echo) as up, gateway(up.url, settings=STRETCHES) as gw, dial(gw) as client:
        gw.kept.shut = True
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=10)
        assert (client.close_code, client.close_reason) == (1013, "metering_unavailable")
        assert gw.record().outcome is Outcome.COMPLETE
        assert gw.kept.open == {}


def test_whoever_may_not_go_on_is_told_at_the_next_stretch() -> None:
    """A frozen instance does not stay open for as long as its socket does."""

    def projected(status: InstanceStatus) -> EntitlementSnapshot:
        instance = EntitledInstance("inst-2", "T", status)
        return EntitlementSnapshot(
            "cust-2", "", (EntitledKey("1", digest(b"pepper", b"sk-2")),), (instance,)
        )

    with talker(echo) as up, gateway(up.url, settings=STRETCHES) as gw:
        gw.directory.put(projected(InstanceStatus.ACTIVE))
        with dial(gw, key="sk-2") as client:
            gw.directory.put(projected(InstanceStatus.FROZEN))
            with pytest.raises(ConnectionClosedError):
                client.recv(timeout=10)
            assert (client.close_code, client.close_reason) == (1008, "instance_frozen")
        assert gw.record().customer_id == "cust-2"
        assert gw.kept.open == {}


@pytest.mark.parametrize("settings", [{}, STRETCHES])
def test_a_session_that_cannot_be_counted_is_cut(settings: dict[str, object]) -> None:
    """Its slot stays and names it; the client is not told that all is well."""
    with talker(echo) as up, gateway(up.url, settings=settings, timeouts={"idle": 1}) as gw:
        with dial(gw) as client:
            gw.kept.full = True
            with pytest.raises(ConnectionClosedError):
                client.recv(timeout=10)
            assert client.close_code == 1006
        gw.idle()
        assert gw.kept.records == []
        assert [opened.customer_id for opened in gw.kept.open.values()] == ["cust-1"]
        assert gw.telemetry.uncounted == 1


def test_an_error_of_ours_ends_both_sides_and_is_recorded() -> None:
    """By 1011; the metric and the log tell the operator."""

    def handler(connection: ServerConnection) -> None:
        connection.send("x")

    with talker(handler) as up, gateway(up.url) as gw:
        try:
            gw.telemetry.bytes_out = None  # type: ignore[assignment]  # something that breaks
        except TypeError:
            pytest.skip("nothing of another type gets into a compiled module")
        with dial(gw) as client:
            with pytest.raises(ConnectionClosedError):
                client.recv(timeout=10)
            assert client.close_code == 1011
        assert eventually(lambda: up.closes) == [(1011, "")]
        assert gw.record().outcome is Outcome.UPSTREAM_CUT
