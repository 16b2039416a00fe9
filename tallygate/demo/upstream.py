"""A stub upstream that answers like an LLM API and counts what it answered.

`python -m tallygate.demo.upstream --listen 127.0.0.1:9000` runs it. It is no part of the product:
demo, tests and load tests put it behind the gateway. `X-Stub-Delay-Ms` on a request delays each
token. `/_stub/totals` says what was answered in full, `/_stub/requests?after=N` which requests were,
`/_stub/last` shows the last request's head, keys and all.
"""

import json
import signal
import socket
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import click
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from tallygate.addresses import Address, parse_address
from tallygate.demo.answers import Answer, Answers
from tallygate.demo.asked import BadRequest
from tallygate.demo.replies import Reply, reply_to
from tallygate.demo.sending import ClientLeft, TooLarge, read_body, send_json, send_reply

MAX_BODY_BYTES: Final = 8 << 20
_MAX_DELAY_MS: Final = 10_000


class Totals:
    """What was answered in full since the start."""

    def __init__(self) -> None:
        self.requests = 0
        self.tokens_in = 0
        self.tokens_out = 0

    def add(self, reply: Reply) -> None:
        """Count one reply."""
        self.requests += 1
        self.tokens_in += reply.tokens_in
        self.tokens_out += reply.tokens_out


class StubUpstream:
    """The ASGI application. `totals` may be read at any time."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.answers = Answers()
        self._last: Scope | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path.startswith("/_stub/"):
            await self._about(path, scope["query_string"], send)
            return
        self._last = scope
        try:
            reply = _answer(scope, await read_body(receive, MAX_BODY_BYTES))
        except ClientLeft:
            return
        except TooLarge:
            reply = _refusal(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        if not isinstance(reply, Reply):
            await send_json(send, *reply)
        else:
            answer = self.answers.begin(scope["headers"], reply)
            completed = partial(self._completed, reply, answer)
            await send_reply(reply, _delay(scope), receive, send, completed)

    def _completed(self, reply: Reply, answer: Answer | None) -> None:
        self.totals.add(reply)
        if answer is not None:
            answer.complete = True

    async def _about(self, path: str, query: bytes, send: Send) -> None:
        if path == "/_stub/totals":
            await send_json(send, 200, vars(self.totals))
        elif path == "/_stub/requests":
            await send_json(send, 200, self.answers.page(_after(query)))
        elif path == "/_stub/last":
            await send_json(send, 200, _head(self._last) if self._last else None)
        else:
            await send_json(send, *_refusal(404, f"there is no {path}"))


def _after(query: bytes) -> int:
    given = parse_qs(query.decode("latin-1")).get("after", ["0"])[0]
    return int(given) if given.isdecimal() and len(given) < 19 else 0


def _head(scope: Scope) -> dict[str, object]:
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in scope["headers"]],
    }


def _answer(scope: Scope, body: bytes) -> Reply | tuple[int, object]:
    """The reply, or a status and the body that explains it."""
    try:
        reply = reply_to(scope["path"], json.loads(body)) if scope["method"] == "POST" else None
    except (ValueError, RecursionError):
        return _refusal(400, "the body is not JSON")
    except BadRequest as refused:
        return _refusal(400, str(refused))
    return reply or _refusal(404, f"there is no {scope['method']} {scope['path']}")


def _refusal(status: int, message: str) -> tuple[int, object]:
    kind = "invalid_request_error"
    return status, {"type": "error", "error": {"message": message, "type": kind, "code": None}}


def _delay(scope: Scope) -> float:
    """Seconds per token."""
    given = next((v for n, v in scope["headers"] if n == b"x-stub-delay-ms"), b"")
    return min(int(given), _MAX_DELAY_MS) / 1000 if given.isdigit() and len(given) < 10 else 0.0


def bind(address: Address) -> socket.socket:
    """A listening socket; clients may connect from now on. Raises OSError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server(address, family=family, backlog=2048)


def server_of(app: ASGIApp) -> uvicorn.Server:
    """A server to run with the sockets of `bind`, in a thread too."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
    )


@click.command()
@click.option(
    "--listen", default="127.0.0.1:9000", show_default=True, help="host:port; port 0: any."
)
def main(listen: str) -> None:
    """Answer like an LLM API until SIGTERM or Ctrl-C.

    \b
    Example:
      python -m tallygate.demo.upstream --listen 127.0.0.1:9000
    """
    try:
        listener = bind(parse_address(listen))
    except (ValueError, OSError) as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
    server = server_of(StubUpstream())

    def stop(*_: object) -> None:
        server.should_exit = True

    # Before uvicorn has its own handlers in place, and after: it raises the signal once more when
    # it has shut down, which would end the process with a traceback or a status other than 0.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    host, port = listener.getsockname()[:2]
    click.echo(f"stub upstream on http://{Address(host, port)}")
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
