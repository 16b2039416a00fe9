"""The service behind the proxies: nginx where it is installed, for it is fastest; else Python's.

nginx alone answers `json` and `unique`; to read bodies to their end before it answers and to stream
it needs its Lua module. Each says how many calls it has read, for the comparison with the journal.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import httpx

from loadtests.compare import nginx
from loadtests.compare.machine import Cores
from loadtests.compare.processes import Command, free_port, listening, started
from loadtests.compare.scenarios import Answering, events, reply_body

Kind = Literal["auto", "nginx", "python"]

_START_S: Final = 20.0
_SERVER: Final = """\
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /_count {{ stub_status; }}
    location / {{
{answer}
    }}
  }}"""
_ANSWERS: Final = {
    "json": "      default_type application/json;\n      return 200 '{body}';",
    "unique": "      default_type application/json;\n      add_header x-upstream-id $request_id;\n"
    "      return 200 '{body}';",
    "read": """\
      content_by_lua_block {{
        ngx.req.read_body()
        ngx.header["Content-Type"] = "application/json"
        ngx.header["Content-Length"] = {length}
        ngx.print('{body}')
      }}""",
    # A flush sends what there is. The sleep lets the other streams go on; one of no time would not,
    # for nginx runs timers that are due before it looks at any connection again.
    "sse": """\
      content_by_lua_block {{
        ngx.req.read_body()
        ngx.header["Content-Type"] = "text/event-stream"
        ngx.header["Cache-Control"] = "no-cache"
        ngx.header["X-Accel-Buffering"] = "no"
        local piece, last = {piece}, {last}
        for n = 1, {pieces} do
          ngx.print(piece)
          ngx.flush(true)
          ngx.sleep(0.001)
        end
        ngx.print(last)
      }}""",
    "idle": """\
      content_by_lua_block {{
        ngx.req.read_body()
        ngx.header["Content-Type"] = "text/event-stream"
        ngx.header["X-Accel-Buffering"] = "no"
        ngx.print({piece})
        ngx.flush(true)
        ngx.sleep(3600)
      }}""",
}


@dataclass(frozen=True)
class Origin:
    """A running origin. `named` is what the report calls it."""

    port: int
    named: str
    own: int  # 1 where a question for the count is counted too

    def calls(self) -> int:
        """How many it has read so far, these questions among them where `own` is 1."""
        url = f"http://127.0.0.1:{self.port}/_count"
        return counted(httpx.get(url, timeout=10, trust_env=False).text)


def counted(text: str) -> int:
    """The number of requests in nginx's stub_status, or the bare number of our own origin."""
    found = re.search(r"^ *\d+ +\d+ +(\d+) *$", text, re.MULTILINE)
    return int(found[1] if found else text)


def chosen(kind: Kind, answering: Answering) -> Literal["nginx", "nginx+lua", "python"]:
    """What serves it. `nginx` forces nothing that is not there."""
    plain = answering in ("json", "unique")
    if kind == "python" or nginx.executable("nginx") is None:
        return "python"
    if plain:
        return "nginx"
    return "nginx+lua" if nginx.has_lua() else "python"


@contextmanager
def origin(kind: Kind, answering: Answering, folder: Path, cores: Cores) -> Iterator[Origin]:
    """One that runs until the block ends. Raises DidNotStart."""
    what, port = chosen(kind, answering), free_port()
    folder.mkdir()
    argv = _python(port, answering) if what == "python" else _nginx(port, answering, folder, cores)
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = Command(argv, folder, cores.origin, root, "origin")
    with started(command) as process:
        listening(process, port, folder / "origin.log", _START_S)
        yield Origin(port, what, own=0 if what == "python" else 1)


def _python(port: int, answering: Answering) -> list[str]:
    module = ["-m", "loadtests.compare.origin"]
    return [sys.executable, *module, "--listen", f"127.0.0.1:{port}", "--answering", answering]


def _nginx(port: int, answering: Answering, folder: Path, cores: Cores) -> list[str]:
    pieces = events()
    answer = _ANSWERS[answering].format(
        body=reply_body().decode(),
        length=len(reply_body()),
        piece=_lua(pieces[0]),
        last=_lua(pieces[-1]),
        pieces=len(pieces) - 1,
    )
    inside = _SERVER.format(port=port, answer=answer)
    lua = answering not in ("json", "unique")
    text = nginx.configuration(folder, inside, workers=len(cores.origin), lua=lua)
    return nginx.command(folder, text)


def _lua(data: bytes) -> str:
    """A long bracket would drop a first line feed and cannot hold a brace unbalanced: quote."""
    escaped = data.decode().replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
