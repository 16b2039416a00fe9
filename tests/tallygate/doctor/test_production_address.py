"""Which address is examined, and what KooGallery would think of it."""

from pathlib import Path

import pytest

from tallygate.config import parse
from tallygate.config_schema import Config
from tallygate.doctor.production_address import address_of, look_at_address


def config(control: str = "{}") -> Config:
    return parse(f"{{control: {control}}}", {}, base=Path("/"))


def test_which_address() -> None:
    """What KooGallery is told, else where a running control plane is, else where it would be."""
    public = config("{public_url: 'https://meter.example.com/'}")
    assert address_of(public, "http://127.0.0.1:5") == "https://meter.example.com/koogallery"
    assert address_of(config(), "http://127.0.0.1:5") == "http://127.0.0.1:5/koogallery"
    assert address_of(config(), None) == "http://127.0.0.1:8081/koogallery"


@pytest.mark.parametrize(
    ("url", "states"),
    [
        ("https://meter.example.com/koogallery", ["ok"]),
        ("https://meter.example.com:8443/koogallery", ["ok"]),
        ("http://meter.example.com/koogallery", ["finding"]),
        ("https://203.0.113.7/koogallery", ["finding"]),
        ("http://203.0.113.7/koogallery", ["finding", "finding"]),
        ("http://127.0.0.1:8081/koogallery", ["note"]),
        ("http://[::1]:8081/koogallery", ["note"]),
        ("https://localhost/koogallery", ["note"]),
    ],
)
def test_what_is_said_of_it(url: str, states: list[str]) -> None:
    """HTTPS and a domain name; this machine is a rehearsal."""
    assert [each.state.value for each in look_at_address(url)] == states
