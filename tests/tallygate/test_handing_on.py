import os
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from tallygate import handing_on
from tallygate.config import Config
from tallygate.handing_on import NotHandedOn, get, new_handle, put


@pytest.fixture
def handle() -> Iterator[int]:
    """Of a configuration with a secret."""
    made = new_handle(Config(partitions=8, secret_key=SecretStr("x" * 40)))
    yield made
    os.close(made)


def test_what_was_put_last_is_got(handle: int) -> None:
    """Also where it is shorter; secrets come through."""
    first = get(handle)
    assert first.partitions == 8
    assert first.secret_key is not None
    assert first.secret_key.get_secret_value() == "x" * 40
    put(handle, Config(partitions=4))
    assert get(handle) == Config(partitions=4)


def test_half_of_one_is_none(handle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts while it is written waits a moment."""
    monkeypatch.setattr(handing_on, "_PAUSE_S", 0.0)
    os.pwrite(handle, b"torn", 20)
    with pytest.raises(NotHandedOn):
        get(handle)
