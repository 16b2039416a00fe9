"""The official OpenAI and Anthropic SDKs through the gateway, against llmock as the upstream."""

import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, AnthropicError, AsyncAnthropic
from openai import AsyncOpenAI, AuthenticationError, OpenAI

from metering.usage import Charge, Grade, Outcome
from tests.gateway.running import KEY, Running, gateway
from tests.servers import eventually

# The SDKs' parameter types are unions of dozens; tests call them as users of plain dicts do.
ASK: Any = [{"role": "user", "content": "What is the weather in Shenzhen today?"}]
Usage = tuple[int, int]


@pytest.fixture(scope="module")
def llmock() -> Iterator[str]:
    """The URL of a running llmock server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [str(Path(sys.executable).with_name("llmock")), "serve", "--port", str(port)]
    options = ["--host", "127.0.0.1", "--log-level", "error", "--response-style", "varied"]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _answers(f"{url}/health"))
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:
            return bool(reply.status == 200)
    except urllib.error.URLError:
        return False


@pytest.fixture
def gw(llmock: str, shell: str) -> Iterator[Running]:
    """A gateway in front of llmock."""
    with gateway(llmock, path="/") as running:
        yield running


@pytest.fixture
def openai(gw: Running) -> Iterator[OpenAI]:
    """The OpenAI SDK, pointed at the gateway."""
    with OpenAI(base_url=f"{gw.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic(gw: Running) -> Iterator[Anthropic]:
    """The Anthropic SDK, pointed at the gateway."""
    with Anthropic(base_url=f"{gw.url}/anthropic", api_key=KEY, max_retries=0) as client:
        yield client


def counted(gw: Running) -> Usage:
    """Input and output tokens of the only record, which must be exact and charged."""
    record = gw.record()
    tokens = {m: q for m, q in record.quantities.items() if m.startswith("tokens_")}
    assert all(quantity.grade is Grade.EXACT for quantity in tokens.values())
    assert record.charges == (Charge("inst-1", "tokens_total"),)
    both = tokens["tokens_in"].value, tokens["tokens_out"].value
    assert tokens["tokens_total"].value == sum(both) > 0
    return both


def test_openai_chat(gw: Running, openai: Any) -> None:
    """What the SDK is told is what is counted."""
    reply = openai.chat.completions.create(model="gpt-4o", messages=ASK)
    assert counted(gw) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)
    assert gw.record().outcome is Outcome.COMPLETE


def test_openai_stream_with_usage(gw: Running, openai: Any) -> None:
    """The client asked for usage, so it keeps the event that carries it."""
    stream = openai.chat.completions.create(
        model="gpt-4o", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    (usage,) = [chunk.usage for chunk in stream if chunk.usage is not None]
    assert counted(gw) == (usage.prompt_tokens, usage.completion_tokens)


def test_openai_stream_without_usage(gw: Running, llmock: str, openai: Any) -> None:
    """The client did not ask, so it sees what it would see without us; it is counted all the same."""
    asked: Any = {"model": "gpt-4o", "messages": ASK}
    with OpenAI(base_url=f"{llmock}/v1", api_key=KEY) as direct:
        whole = direct.chat.completions.create(**asked)
        alone = list(direct.chat.completions.create(stream=True, **asked))
    chunks = list(openai.chat.completions.create(stream=True, **asked))
    apart = {"id", "created"}
    assert [c.to_dict() | dict.fromkeys(apart) for c in chunks] == [
        c.to_dict() | dict.fromkeys(apart) for c in alone
    ]
    assert counted(gw) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)


def test_openai_embeddings(gw: Running, openai: Any) -> None:
    """Input only."""
    reply = openai.embeddings.create(model="text-embedding-3-small", input=["one", "two three"])
    assert counted(gw) == (reply.usage.prompt_tokens, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_openai_responses(gw: Running, openai: Any, stream: bool) -> None:
    """Whole, and as typed events of which the last carries the usage."""
    reply = openai.responses.create(model="gpt-4o", input="Hello there", stream=stream)
    if stream:
        reply = next(event for event in reply if event.type == "response.completed").response
    assert counted(gw) == (reply.usage.input_tokens, reply.usage.output_tokens)


def test_anthropic_messages(gw: Running, anthropic: Any) -> None:
    """The key comes as X-Api-Key."""
    reply = anthropic.messages.create(model="claude-sonnet-4-6", max_tokens=200, messages=ASK)
    assert counted(gw) == (reply.usage.input_tokens, reply.usage.output_tokens)


def test_anthropic_stream(gw: Running, anthropic: Any) -> None:
    """Usage is split over the first and one of the last events."""
    with anthropic.messages.stream(
        model="claude-sonnet-4-6", max_tokens=200, messages=ASK
    ) as stream:
        usage = stream.get_final_message().usage
    assert counted(gw) == (usage.input_tokens, usage.output_tokens)


@pytest.mark.anyio
async def test_asynchronous_clients(gw: Running) -> None:
    """The same through the asynchronous SDKs: two calls, two records."""
    async with AsyncOpenAI(base_url=f"{gw.url}/v1", api_key=KEY) as client:
        first = (await client.chat.completions.create(model="gpt-4o", messages=ASK)).usage
    async with AsyncAnthropic(base_url=f"{gw.url}/anthropic", api_key=KEY) as other:
        asked: Any = {"model": "claude-sonnet-4-6", "max_tokens": 200, "messages": ASK}
        async with other.messages.stream(**asked) as stream:
            second = (await stream.get_final_message()).usage
    eventually(lambda: len(gw.kept.records) == 2)
    totals = [record.quantities["tokens_total"].value for record in gw.kept.records]
    assert totals == [first and first.total_tokens, second.input_tokens + second.output_tokens]


def test_a_wrong_key_is_what_the_sdks_expect(gw: Running) -> None:
    """Both raise their own authentication errors on our body."""
    with (
        OpenAI(base_url=f"{gw.url}/v1", api_key="wrong") as openai,
        pytest.raises(AuthenticationError, match="not known"),
    ):
        openai.models.list()
    with (
        Anthropic(base_url=f"{gw.url}/anthropic", api_key="wrong") as anthropic,
        pytest.raises(AnthropicError, match="invalid_api_key"),
    ):
        anthropic.models.list()
    assert gw.kept.records == []
