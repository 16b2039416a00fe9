"""A streaming request is asked to report its usage, and is otherwise left as it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.injection import MAX_BODY, inject, wants_buffering
from gateway.tap import UsagePlan


def wants(path: str = "/v1/chat/completions", plan: UsagePlan | None = None, method: str = "POST", content_type: bytes = b"application/json") -> bool:  # fmt: skip
    """Whether such a request would be collected."""
    plan = UsagePlan() if plan is None else plan
    return wants_buffering(plan, method=method, path=path, content_type=content_type)


def test_only_openai_style_posts_are_collected() -> None:
    """Everything else streams through."""
    assert wants()
    assert wants("/openai/deployments/x/chat/completions?api-version=2024")
    assert wants("/v1/completions", content_type=b"application/json; charset=utf-8")
    assert wants(plan=UsagePlan(dialect="openai"))
    assert not wants("/v1/messages")
    assert not wants("/v1/responses")
    assert not wants("/v1/other?x=/chat/completions")
    assert not wants(method="GET")
    assert not wants(content_type=b"multipart/form-data")
    assert not wants(plan=UsagePlan(inject=False))
    assert not wants(plan=UsagePlan(dialect="anthropic"))
    assert not wants(plan=UsagePlan(dialect="none"))
    assert not wants(plan=UsagePlan(dialect="mistral"))
    assert wants(plan=UsagePlan(dialect="koogallery"))


def test_usage_is_asked_for() -> None:
    """The option is added behind everything that was there, which keeps its bytes."""
    body = b'{"model": "m" , "n": 1.0, "x": {"b" :1,"a": "\\u00e9"}, "stream": true}'
    assert inject(body) == (
        b'{"model":"m","n":1.0,"x":{"b" :1,"a": "\\u00e9"},"stream":true,'
        b'"stream_options":{"include_usage":true}}'
    )


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (b"null", b'{"include_usage":true}'),
        (b"{}", b'{"include_usage":true}'),
        (b'{"include_usage":false}', b'{"include_usage":true}'),
        (b'{"include_usage":null}', b'{"include_usage":true}'),
        (b'{"include_obfuscation": false}', b'{"include_obfuscation":false,"include_usage":true}'),
    ],
)
def test_other_stream_options_stay(options: bytes, asked: bytes) -> None:
    """Only include_usage changes, in its place."""
    body = b'{"stream_options":' + options + b',"stream":true}'
    assert inject(body) == b'{"stream_options":' + asked + b',"stream":true}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"not json",
        b'{"stream":true',
        b'{"stream":false}',
        b'{"stream":"true"}',
        b'{"stream":1}',
        b'{"a":{"stream":true}}',
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"stream":true,"stream_options":{"include_usage":1}}',
        b'{"stream":true,"stream_options":[]}',
        b'{"stream":true,"stream_options":"all"}',
        b'{"stream":true,"stream_options":{"a":1,"a":2}}',
        b'{"stream":false,"stream":true}',
        b'{"stream":true,"model":"a","model":"b"}',
        b'{"stream":true,"mod\\u0065l":"a","model":"b"}',
        b'{"stream":true,"\xff":1}',
        b'\xef\xbb\xbf{"stream":true}',
        b'{"stream":true,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"stream":true}' + b" " * (MAX_BODY - 14),
    ],
    ids=lambda body: repr(body[:50]),
)
def test_what_must_go_as_it_is(body: bytes) -> None:
    """Not streaming, already asking, ambiguous, too large or no JSON: nothing is changed."""
    assert inject(body) is None


@given(st.binary())
def test_any_bytes(body: bytes) -> None:
    """Garbage goes as it is."""
    assert inject(body) is None


def test_a_body_at_the_bound() -> None:
    """The largest body that is asked is MAX_BODY long."""
    assert inject(b'{"stream":true}' + b" " * (MAX_BODY - 15)) is not None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values), st.booleans())
def test_nothing_else_changes(request: dict[str, object], ascii_only: bool) -> None:
    """Without the option that was set, the request is the same, in the same order."""
    request = {**request, "stream": True}
    request.pop("stream_options", None)
    injected = inject(json.dumps(request, ensure_ascii=ascii_only).encode())
    assert injected is not None
    sent = json.loads(injected)
    assert sent.pop("stream_options") == {"include_usage": True}
    assert list(sent.items()) == list(request.items())
