"""Load on a gateway by several customers, JSON and SSE, with an audit at the end. See README.md.

Every reply says how many tokens it used. What the replies said is compared, per customer, with what
`/api/v1/usage` says the run added: a difference fails the run.
"""

import json
import logging
import random
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from locust import FastHttpUser, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import LocalRunner
from usage_audit import Audit, Counts, UsageApi, UsageUnknown, verdict

# A user that is cut off in the middle of a call cannot know what the call used; the gateway can.
FINISH_SECONDS: Final = 60.0
MAX_WORDS_IN: Final = 60
MAX_TOKENS_OUT: Final = 48

Usage = Mapping[str, Any]


class Books:
    """The audit of the run that goes on; locust's UI starts several in one process."""

    audit = Audit()
    opening: Counts | None = None
    all_agreed = True


class Caller(FastHttpUser):
    """Calls without pause, each as a random customer, with a prompt and a maximum of random size."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Read the options once."""
        options = options_of(self.environment)
        self.customers = customers(options.api_keys)
        self.json_share = options.json_share
        self.model = options.model

    @task
    def call(self) -> None:
        """One chat completion; a reply without usage is a failure."""
        customer, key = random.choice(self.customers)
        stream = random.random() >= self.json_share
        headers = {"Authorization": f"Bearer {key}"}
        if stream:
            headers["Accept-Encoding"] = "identity"  # locust does not decode what it streams
        begun = time.perf_counter()
        with self.client.post(
            "/v1/chat/completions",
            name="chat SSE" if stream else "chat JSON",
            json=chat_request(self.model, stream=stream),
            headers=headers,
            stream=stream,
            catch_response=True,
        ) as response:
            book(customer, response, usage_of_stream if stream else usage_of_body)
            # Of a stream locust itself measures only how long it takes to begin.
            response.request_meta["response_time"] = (time.perf_counter() - begun) * 1000


def chat_request(model: str, *, stream: bool) -> dict[str, Any]:
    """A call of random size."""
    request: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "tally " * random.randint(1, MAX_WORDS_IN)}],
        "max_tokens": random.randint(1, MAX_TOKENS_OUT),
    }
    if stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return request


def book(customer: str, response: Any, usage_of: Callable[[Any], Usage | None]) -> None:
    """Count the reply, or mark it as failed."""
    usage = usage_of(response) if response.status_code == 200 else None
    if usage is not None:
        Books.audit.count(customer, usage)
        response.success()
        return
    Books.audit.failures += 1
    if response.status_code == 200:
        response.failure("the reply is cut off or says no usage")
    else:
        response.failure(f"status {response.status_code}")


def usage_of_body(response: Any) -> Usage | None:
    """The usage in a JSON reply."""
    try:
        usage = json.loads(response.content)["usage"]
    except (ValueError, LookupError, TypeError):
        return None
    return usage if isinstance(usage, dict) else None


def usage_of_stream(response: Any) -> Usage | None:
    """The usage of a stream that came to its end. Bytes are dropped as soon as they are read."""
    usage, done, rest = None, False, b""
    for chunk in response.iter_content(4096, decode_content=False):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                done = True
            elif b'"usage"' in data:
                usage = json.loads(data)["usage"] or usage
    return usage if done else None


def customers(text: str) -> list[tuple[str, str]]:
    """`a:key-1,b:key-2` as pairs. Raises ValueError."""
    pairs = [entry.strip().partition(":") for entry in text.split(",") if entry.strip()]
    if not pairs or not all(customer and key for customer, _, key in pairs):
        raise ValueError("--api-keys must be customer:key[,customer:key...]")
    return [(customer, key) for customer, _, key in pairs]


def options_of(environment: Environment) -> Namespace:
    """The command line; locust is always started by one."""
    return environment.parsed_options or Namespace()


def add_options(parser: LocustArgumentParser) -> None:
    """Everything secret can also come from the environment, and is not shown in locust's UI."""
    for option, text in (
        ("--api-keys", "comma list of customer:key, one of which makes each call (required)"),
        ("--admin-url", "admin listener of the control plane; without it nothing is compared"),
        ("--admin-token", "Bearer token of the admin listener"),
    ):
        name = "TALLYGATE_" + option[2:].upper().replace("-", "_")
        parser.add_argument(option, env_var=name, default="", help=text, include_in_web_ui=False)
    parser.add_argument("--json-share", type=float, default=0.5, help="part that is not streamed")
    parser.add_argument(
        "--settle-seconds", type=float, default=10.0, help="how long counts may take to agree"
    )
    parser.add_argument("--model", default="demo", help="model named in the calls")


def check_options(environment: Environment, **_: object) -> None:
    """Wrong options end locust before anything is sent."""
    options = options_of(environment)
    try:
        customers(options.api_keys)
    except ValueError as error:
        _refuse(str(error))
    if options.admin_url and urlsplit(options.admin_url).scheme not in ("http", "https"):
        _refuse("--admin-url must be a URL such as http://127.0.0.1:8082")
    if not 0 <= options.json_share <= 1:
        _refuse("--json-share must be between 0 and 1")
    if options.admin_url and not isinstance(environment.runner, LocalRunner):
        # Workers tell their last counts after the test has stopped, or never.
        _refuse("--admin-url must be used with one process; start one locust per customer instead")
    environment.stop_timeout = environment.stop_timeout or FINISH_SECONDS
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _refuse(message: str, status: int = 2) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(status)


def usage_api(environment: Environment) -> UsageApi | None:
    """The usage API as the command line names it."""
    options = options_of(environment)
    if not options.admin_url:
        return None
    names = frozenset(name for name, _ in customers(options.api_keys))
    return UsageApi(options.admin_url, options.admin_token, names, options.settle_seconds)


def read_opening(environment: Environment, **_: object) -> None:
    """A headless run whose books cannot be opened does not begin, and its time has not begun yet."""
    api = usage_api(environment)
    if api is None or not options_of(environment).headless:
        return
    try:
        Books.opening = api.settled()
    except UsageUnknown as unknown:
        _refuse(str(unknown), 1)


def open_books(environment: Environment, **_: object) -> None:
    """Note what was counted before. From now on the run fails unless its books agree."""
    Books.audit = Audit()
    api = usage_api(environment)
    if api is None:
        return
    environment.process_exit_code = 1
    try:
        Books.audit.before = api.settled() if Books.opening is None else Books.opening
    except UsageUnknown as unknown:
        Books.all_agreed = False
        print(f"\n{unknown}; this run will not be compared", flush=True)


def close_books(environment: Environment, **_: object) -> None:
    """Compare, print, and let the run pass when there is no difference."""
    api = usage_api(environment)
    if api is None or Books.audit.before is None:
        return
    try:
        agreed, lines = verdict(Books.audit, api)
    except UsageUnknown as unknown:
        agreed, lines = False, [str(unknown)]
    print("", *lines, "", sep="\n", flush=True)
    Books.all_agreed &= agreed
    environment.process_exit_code = None if Books.all_agreed else 1  # None: locust decides


def stop_first(environment: Environment, **_: object) -> None:
    """After Ctrl-C too the books are closed before locust decides on its exit code."""
    if environment.runner is not None:
        environment.runner.quit()


for event, listener in (
    (events.init_command_line_parser, add_options),
    (events.init, check_options),
    (events.init, read_opening),
    (events.test_start, open_books),
    (events.test_stop, close_books),
    (events.quitting, stop_first),
):
    event.add_listener(listener)  # type: ignore[no-untyped-call]  # locust does not annotate it
