"""The stub upstream, as the official SDKs and plain HTTP see it."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import anyio
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionUserMessageParam

from tallygate.demo.upstream import MAX_BODY_BYTES, StubUpstream
from tests.tallygate.serving import serving

ASK: ChatCompletionUserMessageParam = {"role": "user", "content": "count these four words"}
ASK_ANTHROPIC: MessageParam = {
    "role": "user",
    "content": [{"type": "text", "text": "three more words"}],
}


@pytest.fixture(scope="module")
def stub() -> StubUpstream:
    return StubUpstream()


@pytest.fixture(scope="module")
def url(stub: StubUpstream) -> Iterator[str]:
    with serving(stub) as base_url:
        yield base_url


@pytest.fixture
def openai(url: str) -> Iterator[OpenAI]:
    with OpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic(url: str) -> Iterator[Anthropic]:
    with Anthropic(api_key="k", base_url=url, max_retries=0) as client:
        yield client


def tokens_of(chunks: list[ChatCompletionChunk]) -> int:
    """The client's own count: deltas that bring text."""
    return sum(1 for c in chunks for choice in c.choices if choice.delta.content)


def test_chat_counts_words_in_and_the_maximum_out(openai: OpenAI) -> None:
    """Four words in, seven tokens out, and as many in the text."""
    reply = openai.chat.completions.create(model="m", messages=[ASK], max_tokens=7)
    assert reply.usage is not None
    counted = (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens)
    assert counted == (4, 7, 11)
    assert len((reply.choices[0].message.content or "").split()) == 7


def test_a_chat_stream_has_one_delta_per_token_and_no_usage(openai: OpenAI) -> None:
    """Without include_usage no chunk knows the word."""
    stream = openai.chat.completions.create(
        model="m", messages=[ASK], max_completion_tokens=30, stream=True
    )
    chunks = list(stream)
    assert tokens_of(chunks) == 30
    assert all("usage" not in chunk.model_fields_set and chunk.choices for chunk in chunks)


def test_a_chat_stream_ends_with_usage_when_asked(openai: OpenAI) -> None:
    """Every chunk says null but the last, which has no choices."""
    stream = openai.chat.completions.create(
        model="m", messages=[ASK], stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = stream
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (4, tokens_of(chunks))


def test_completions_answer_and_stream(openai: OpenAI) -> None:
    """The older endpoint, several prompts."""
    reply = openai.completions.create(model="m", prompt=["one two", "three"], max_tokens=5)
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 5)
    *chunks, last = openai.completions.create(
        model="m", prompt="one", max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    assert sum(1 for chunk in chunks if chunk.choices[0].text) == 5
    assert last.usage is not None
    assert (last.choices, last.usage.total_tokens) == ([], 6)


def test_embeddings_count_only_what_goes_in(openai: OpenAI) -> None:
    """One vector per input, as floats or packed; token lists count one each."""
    reply = openai.embeddings.create(model="m", input=["a b", "c"])
    plain = openai.embeddings.create(model="m", input=[1, 2, 3], encoding_format="float")
    assert (len(reply.data), reply.usage.prompt_tokens) == (2, 3)
    assert (len(plain.data), plain.usage.total_tokens) == (1, 3)
    assert plain.data[0].embedding == reply.data[0].embedding


def test_responses_answer_and_stream(openai: OpenAI) -> None:
    """Usage stands in the response, and in the last event of a stream."""
    reply = openai.responses.create(
        model="m", instructions="be brief", input="hi there", max_output_tokens=3
    )
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (4, 3)
    with openai.responses.stream(model="m", input=[{"role": "user", "content": "hi"}]) as stream:
        deltas = [event for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.usage is not None
    assert (final.usage.input_tokens, final.usage.output_tokens) == (1, len(deltas))
    assert final.output_text == "".join(event.delta for event in deltas)


def test_anthropic_messages_answer_and_stream(anthropic: Anthropic) -> None:
    """Input tokens come first, output tokens last; the SDK adds nothing up wrongly."""
    reply = anthropic.messages.create(
        model="m", system="two words", messages=[ASK_ANTHROPIC], max_tokens=9
    )
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 9)
    with anthropic.messages.stream(model="m", messages=[ASK_ANTHROPIC], max_tokens=9) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert (len(texts), final.usage.input_tokens, final.usage.output_tokens) == (9, 3, 9)


@pytest.mark.anyio
async def test_async_clients_are_served_too(url: str) -> None:
    """Both SDKs, streaming at once, each event by itself."""
    slowly = {"X-Stub-Delay-Ms": "1"}
    counts: list[int] = []

    async def chat(client: AsyncOpenAI) -> None:
        stream = await client.chat.completions.create(
            model="m", messages=[ASK], max_tokens=12, stream=True, extra_headers=slowly
        )
        counts.append(tokens_of([chunk async for chunk in stream]))

    async def message(client: AsyncAnthropic) -> None:
        async with client.messages.stream(
            model="m", messages=[ASK_ANTHROPIC], max_tokens=12, extra_headers=slowly
        ) as stream:
            counts.append(len([text async for text in stream.text_stream]))

    async with (
        AsyncOpenAI(api_key="k", base_url=f"{url}/v1") as openai,
        AsyncAnthropic(api_key="k", base_url=url) as anthropic,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(chat, openai)
        tasks.start_soon(message, anthropic)
    assert counts == [12, 12]


def test_totals_count_what_was_answered_in_full() -> None:
    """A reply counts before its reader can ask; refusals do not count."""
    with serving(StubUpstream()) as url, httpx.Client(base_url=url) as client:
        ask = {"prompt": "a b c", "max_tokens": 5}
        client.post("/v1/completions", json=ask).raise_for_status()
        assert client.post("/v1/completions", json=ask | {"max_tokens": -1}).status_code == 400
        for done in range(2, 12):
            client.post("/v1/completions", json=ask | {"stream": True}).raise_for_status()
            totals = client.get("/_stub/totals").json()
            assert totals == {"requests": done, "tokens_in": 3 * done, "tokens_out": 5 * done}


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_does_not_wait_is_not_counted(stream: bool) -> None:
    """It leaves between two events, or before a slow reply."""
    stub = StubUpstream()
    slow = {"X-Stub-Delay-Ms": "10000"}
    with serving(stub) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/completions", json={"stream": stream}, headers=slow, timeout=0.3)
        httpx.post(f"{url}/v1/completions", json={"prompt": "b"})
    assert vars(stub.totals) == {"requests": 1, "tokens_in": 1, "tokens_out": 16}


def test_a_client_that_stops_reading_and_leaves_is_not_counted() -> None:
    """What was held back in front of a full socket was not answered."""
    stub = StubUpstream()
    body = json.dumps({"stream": True, "max_tokens": 8192, "model": "m" * 200}).encode()
    with serving(stub, send_buffer=4096) as url, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n")
        client.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        assert client.recv(12) == b"HTTP/1.1 200"
        client.close()
        httpx.post(f"{url}/v1/completions", json={"prompt": "b"})
    assert vars(stub.totals) == {"requests": 1, "tokens_in": 1, "tokens_out": 16}


def test_the_last_head_is_shown(url: str, openai: OpenAI) -> None:
    """What a gateway added or took away can be seen."""
    openai.chat.completions.create(model="m", messages=[ASK], extra_query={"x": "1"})
    last = httpx.get(f"{url}/_stub/last").json()
    assert (last["method"], last["path"], last["query"]) == ("POST", "/v1/chat/completions", "x=1")
    assert ["authorization", "Bearer k"] in last["headers"]


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", b"[" * 100_000, 400),
        ("/v1/chat/completions", b'{"max_tokens": true}', 400),
        ("/v1/chat/completions", b'{"max_tokens": 1000000}', 400),
        ("/v1/embeddings", b'{"input": [' + b'"a",' * 3000 + b'"a"]}', 400),
        ("/v1/nothing", b"{}", 404),
        ("/_stub/nothing", b"{}", 404),
        ("/v1/completions", b" " * (MAX_BODY_BYTES + 1), 413),
    ],
)  # fmt: skip
def test_a_bad_request_is_explained(url: str, path: str, content: bytes, status: int) -> None:
    """A status and a message, and the server goes on."""
    reply = httpx.post(url + path, content=content)
    assert (reply.status_code, bool(reply.json()["error"]["message"])) == (status, True)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_listens_and_ends_on_a_signal(signal_number: int) -> None:
    """One line once it can be reached; status 0 at the end."""
    command = [sys.executable, "-m", "tallygate.demo.upstream", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("stub upstream on http://127.0.0.1:")
        reply = httpx.post(line.split()[-1] + "/v1/completions", json={"prompt": "a"})
        process.send_signal(signal_number)
        output, errors = process.communicate(timeout=20)
    assert reply.json()["usage"]["total_tokens"] == 17
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.parametrize("listen", ["nonsense", "host.invalid:80", "[::1]"])
def test_an_address_that_cannot_be_used_is_a_usage_error(listen: str) -> None:
    """One line, no stack trace."""
    command = [sys.executable, "-m", "tallygate.demo.upstream", "--listen", listen]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
