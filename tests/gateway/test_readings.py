"""Documents of one reply are merged field by field."""

import json
from collections.abc import Mapping

from gateway.readings import RAW_LIMIT, Path, Readings
from metering.usage import Grade, Quantity


def read(*documents: object, complete: bool = True, **paths: Path) -> Mapping[str, Quantity]:
    """The quantities of a reply made of these documents."""
    readings = Readings("auto", paths)
    for document in documents:
        readings.see(json.dumps(document).encode())
    return readings.quantities(complete=complete)


def test_last_value_wins_per_field() -> None:
    """A later document without a field keeps the earlier one's."""
    quantities = read(
        {"usage": {"prompt_tokens": 5, "completion_tokens": 1}},
        {"usage": None},
        {"usage": {"completion_tokens": 3}},
        {"usage": {"completion_tokens": -1}},
    )
    assert quantities == {
        "tokens_in": Quantity(5),
        "tokens_out": Quantity(3),
        "tokens_total": Quantity(8),
    }


def test_custom_meters_follow_their_path() -> None:
    """A configured path is read from every document; it outranks a built-in meter of that name."""
    quantities = read(
        {"usage": {"pages": 2}},
        {"usage": {"pages": 3, "prompt_tokens": 7}},
        {"usage": {"pages": "many"}},
        pages=Path(("usage", "pages")),
        tokens_in=Path(("usage", "pages")),
    )
    assert quantities == {"pages": Quantity(3), "tokens_in": Quantity(3)}


def test_an_end_makes_a_cut_reply_exact() -> None:
    """Usage that was final before the cut is exact; before that it is partial."""
    usage = {"usage": {"prompt_tokens": 5}}
    assert read(usage, complete=False)["tokens_in"].grade == Grade.PARTIAL
    assert read({"choices": []}, usage, complete=False)["tokens_in"].grade == Grade.PARTIAL
    assert read({**usage, "choices": []}, complete=False)["tokens_in"].grade == Grade.EXACT


def test_an_announced_end_that_never_came_is_partial() -> None:
    """After message_start the output count is a placeholder until message_delta."""
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}
    assert read(start)["tokens_out"] == Quantity(1, Grade.PARTIAL)
    assert read(start, {"type": "message_stop"})["tokens_out"] == Quantity(1, Grade.EXACT)


def test_raw_usage_is_bounded() -> None:
    """The audit copy is the last usage as it stood, up to its bound."""
    readings = Readings("auto", {})
    readings.see(b'{"usage": {"prompt_tokens" : 5}}')
    readings.see(b'{"usage": null}')
    assert readings.raw == b'{"prompt_tokens" : 5}'
    readings.see(json.dumps({"usage": {"x": "y" * 5000}}).encode())
    assert len(readings.raw) == RAW_LIMIT


def test_clearing_forgets() -> None:
    """An unreadable reply leaves nothing behind."""
    readings = Readings("auto", {"n": Path(("n",))})
    readings.see(b'{"usage": {"prompt_tokens": 5}, "choices": [], "n": 1}')
    readings.clear()
    assert readings.quantities(complete=True) == {}
    assert readings.raw == b""
