"""What a request to the stub upstream asks for: prompt words, tokens to answer, stream or not. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

DEFAULT_TOKENS_OUT: Final = 16
MAX_TOKENS_OUT: Final = 8192
_MAX_INPUTS: Final = 2048


class BadRequest(Exception):
    """The request cannot be answered; the message says what to change."""


class Asked(NamedTuple):
    """What a request asks for, as far as the stub cares."""

    model: str
    tokens_in: int
    tokens_out: int
    stream: bool = False
    include_usage: bool = False
    base64: bool = False
    inputs: int = 1


def read_asked(
    request: Mapping[str, Any], prompt: Iterable[str], maximum: tuple[str, ...]
) -> Asked:
    """Reads the fields `prompt` for words in and `maximum` for tokens out. Raises BadRequest."""
    options = request.get("stream_options")
    return Asked(
        model=str(request.get("model", "stub"))[:200],
        tokens_in=sum(_words(request.get(name)) for name in prompt),
        tokens_out=_tokens_out(request, maximum),
        stream=request.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        base64=request.get("encoding_format") == "base64",
        inputs=_inputs(request.get("input")),
    )


def _tokens_out(request: Mapping[str, Any], names: tuple[str, ...]) -> int:
    if not names:
        return 0
    given = next((request[name] for name in names if request.get(name) is not None), None)
    wanted = DEFAULT_TOKENS_OUT if given is None else given
    if type(wanted) is not int or not 0 <= wanted <= MAX_TOKENS_OUT:
        raise BadRequest(f"{' or '.join(names)} must be an integer from 0 to {MAX_TOKENS_OUT}")
    return wanted


def _words(prompt: object) -> int:
    """Words of a string, or of every text inside messages and parts; a bare integer is one token."""
    match prompt:
        case str():
            return len(prompt.split())
        case bool() | None:
            return 0
        case int():
            return 1
        case list():
            return sum(_words(item) for item in prompt)
        case dict():
            return _words(prompt.get("content")) + _words(prompt.get("text"))
    return 0


def _inputs(given: object) -> int:
    """How many embeddings are wanted: one, or one for each of several texts or token lists."""
    if not isinstance(given, list) or not given or isinstance(given[0], int):
        return 1
    if len(given) > _MAX_INPUTS:
        raise BadRequest(f"input must have at most {_MAX_INPUTS} items")
    return len(given)
