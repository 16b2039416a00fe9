"""What the control plane calls others with."""

import ssl

import pytest

from tallygate.control_plane import http_client, strict_tls
from tests.servers import Received, upstream

pytestmark = pytest.mark.anyio


async def test_cookies_are_not_kept() -> None:
    """Whoever is called, the marketplace or a webhook, sets none."""

    def answer(request: Received) -> None:
        request.reply(b"", b"Set-Cookie: a=b", b"Set-Cookie: c=d; Path=/; Max-Age=99999")

    with upstream(answer) as server:
        async with http_client() as http:
            for _ in range(2):
                await http.post(server.url)
            assert len(http.cookies) == 0
    assert [request.header(b"cookie") for request in server.requests] == [None, None]


def test_tls_is_strict() -> None:
    """Certificates and names are verified, and nothing older than TLS 1.2 is spoken."""
    context = strict_tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
