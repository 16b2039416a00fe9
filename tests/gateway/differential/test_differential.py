"""Both shells make the same of the same bytes: one list of cases, played through each."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from metering.catalogue import Product
from tests.gateway.differential import cases_ends, cases_framing, cases_heads, cases_usage
from tests.gateway.differential.playing import play
from tests.gateway.differential.scripts import Case, Scripted, scripted
from tests.gateway.running import TOKENS, Running, gateway

CASES = {
    "request": [*cases_framing.REQUESTS, *cases_heads.REQUESTS],
    "reply": [*cases_framing.REPLIES, *cases_heads.REPLIES],
    "early": cases_framing.EARLY,
    "pipelined": cases_heads.PIPELINED,
    "usage": cases_usage.ALL,
    "cut": cases_ends.CUTS,
    "left": cases_ends.LEAVING,
}
POLICIES = {
    "drain": {"on_disconnect": "drain"},
    "abort": {"on_disconnect": "abort"},
    "normal": {"normalize": True},
}
CHARACTERS = Product(product_id="C", routes=["chat"], meter="characters")
Gateways = dict[tuple[str, str], Running]


@pytest.fixture(scope="module")
def up() -> Iterator[Scripted]:
    """The upstream of all gateways."""
    with scripted() as server:
        yield server


@pytest.fixture(scope="module")
def gateways(up: Scripted) -> Iterator[Gateways]:
    """One of each shell and policy."""
    with ExitStack() as stack:
        yield {
            (shell, policy): stack.enter_context(
                gateway(
                    f"http://127.0.0.1:{up.port}",
                    settings={"shell": shell},
                    usage=usage,
                    products=[TOKENS, CHARACTERS] if policy == "normal" else [TOKENS],
                )
            )
            for shell in ("linerate", "portable")
            for policy, usage in POLICIES.items()
        }


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{kind}: {case.name}") for kind, cases in CASES.items() for case in cases],
)  # fmt: skip
def test_both_shells_make_the_same_of_it(case: Case, gateways: Gateways, up: Scripted) -> None:
    """Replies, records, what the upstream saw, and whether the connection goes on."""
    ours = play(case, gateways["linerate", case.policy], up).parts()
    theirs = play(case, gateways["portable", case.policy], up).parts()
    for part, value in ours.items():
        if part not in case.differs:
            assert value == theirs[part], part
    for part in case.differs:
        assert case.because, f"{part} differs for no reason"


def test_cases_have_names_of_their_own() -> None:
    """So that a failing one can be found."""
    for cases in CASES.values():
        assert len({case.name for case in cases}) == len(cases)
