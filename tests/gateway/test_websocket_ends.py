"""What each side is told of an end."""

import pytest

from gateway import websocket_ends as ends
from gateway.errors import NotCounted
from gateway.standing_errors import InstanceFrozen
from metering.usage import Outcome


@pytest.mark.parametrize("code", [1005, 1006, 1015])
def test_codes_that_are_never_sent_are_never_sent(code: int) -> None:
    """RFC 6455 §7.4.1."""
    for ending in (ends.client_closed(code, ""), ends.upstream_closed((code, ""))):
        for close in (ending.to_client, ending.to_upstream):
            assert close is None or close.code in {1000, 1001, 1011}


def test_a_close_without_a_code_is_an_end_and_a_break_is_none() -> None:
    """The first is complete."""
    assert ends.client_closed(1005, "") == (Outcome.COMPLETE, None, (1000, ""))
    assert ends.client_closed(1005, None) is ends.CLIENT_BROKE
    assert ends.upstream_closed(None) is ends.UPSTREAM_BROKE


def test_a_refusal_to_go_on_names_its_reason() -> None:
    """1013 where trying again helps."""
    assert ends.not_let_on(NotCounted()).to_client == (1013, "metering_unavailable")
    assert ends.not_let_on(InstanceFrozen()).to_client == (1008, "instance_frozen")
