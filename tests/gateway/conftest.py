"""The shells of the public listener, for tests that hold for each of them."""

from collections.abc import Iterator

import pytest

from tests.gateway import running


@pytest.fixture(scope="module", params=["linerate", "portable"])
def shell(request: pytest.FixtureRequest) -> Iterator[str]:
    """The shell that every `gateway` of the test has, unless its settings name another."""
    running.chosen.shell = request.param
    yield request.param
    running.chosen.shell = running.Chosen.shell
