"""wrk: the Lua script of a scenario, and what a run of it says. Pure."""

import json
from dataclasses import dataclass
from typing import Final

from loadtests.compare.scenarios import PATH, Scenario, call_body, customers

# wrk's own summary is for people; this is one line of JSON. Times are microseconds.
_DONE: Final = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nJSON {"requests": %d, "microseconds": %d, "bytes": %d, "connect": %d, "read": %d, "write": %d, '
    .. '"status": %d, "timeout": %d, "p50": %d, "p99": %d}\\n',
    summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write,
    e.status, e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""

# Made once; each call takes the next one. 10,000 of them are drawn in an order that repeats late.
# Fields stand in one order in every run, as a client has them: wrk's own differs from run to run.
_MANY: Final = """
local made, at = {}, 0
init = function(arguments)
  local head = %(head)s .. "Host: " .. wrk.headers["Host"] .. "\\r\\n"
  for n = 1, %(count)d do
    made[n] = head .. string.format("Authorization: Bearer sk-%%06d\\r\\n", n) .. %(rest)s
  end
end
request = function()
  at = (at + 7919) %% %(count)d
  return made[at + 1]
end
"""

# A trace id as W3C Trace Context writes it, a new one for each call.
_DISTINCT: Final = """
local before, after, at
init = function(arguments)
  wrk.headers["traceparent"] = "MARK"
  local whole = wrk.format()
  local first, last = string.find(whole, "MARK", 1, true)
  before, after = string.sub(whole, 1, first - 1), string.sub(whole, last + 1)
  math.randomseed(os.time())
  at = math.random(1, 2^30) * 2^20
end
request = function()
  at = at + 1
  return before .. string.format("00-5ca1ab1e%024x-%016x-01", at, at) .. after
end
"""


class Unreadable(Exception):
    """wrk said nothing that can be read."""


@dataclass(frozen=True)
class Flood:
    """What a run of wrk saw. `errors` are by kind, in replies or connections; times are seconds."""

    replies: int
    seconds: float
    received: int  # bytes
    errors: dict[str, int]
    p50_s: float
    p99_s: float

    @property
    def rate(self) -> float:
        """Complete replies a second."""
        return self.replies / self.seconds if self.seconds else 0.0


def headers(scenario: Scenario) -> dict[str, str]:
    """The header fields of a call by the first customer."""
    fields = {
        "Authorization": f"Bearer {customers(1)[0][1]}",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "OpenAI/Python 1.0",
    }
    return fields | ({"Connection": "close"} if scenario.close else {})


def script(scenario: Scenario) -> str:
    """The Lua that makes the scenario's calls."""
    lines = ['wrk.method = "POST"', f"wrk.path = {_lua(PATH)}"]
    lines += [f"wrk.headers[{_lua(k)}] = {_lua(v)}" for k, v in headers(scenario).items()]
    lines.append(f"wrk.body = {_lua(call_body(scenario).decode())}")
    if scenario.distinct_heads:
        lines.append(_DISTINCT)
    elif scenario.against or scenario.customers > 1 or scenario.name == "one_customer":
        lines.append(_many(scenario))
    return "\n".join([*lines, _DONE])


def _many(scenario: Scenario) -> str:
    body = call_body(scenario).decode()
    others = {k: v for k, v in headers(scenario).items() if k != "Authorization"}
    fields = [f"{k}: {v}" for k, v in (others | {"Content-Length": str(len(body))}).items()]
    rest = "\r\n".join([*fields, "", body])
    head = f"POST {PATH} HTTP/1.1\r\n"
    return _MANY % {"count": scenario.customers, "head": _lua(head), "rest": _lua(rest)}


def _lua(text: str) -> str:
    return json.dumps(text)  # the same escapes, for the plain text that stands here


def parse(output: str) -> Flood:
    """What `done` wrote. Raises Unreadable."""
    found = [line for line in output.splitlines() if line.startswith("JSON {")]
    try:
        said = json.loads(found[-1].removeprefix("JSON "))
        errors = {kind: said[kind] for kind in ("connect", "read", "write", "status", "timeout")}
        return Flood(
            replies=said["requests"] - said["status"],
            seconds=said["microseconds"] / 1e6,
            received=said["bytes"],
            errors={kind: count for kind, count in errors.items() if count},
            p50_s=said["p50"] / 1e6,
            p99_s=said["p99"] / 1e6,
        )
    except (IndexError, ValueError, KeyError) as problem:
        raise Unreadable(f"wrk said: {output.strip()[-300:]}") from problem
