"""References to the environment."""

import pytest

from tallygate.environment import BadReference, Resolver, Unset, expand

ENVIRON = {"HOST": "db", "EMPTY": "", "TRICKY": "${HOST} $$"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${HOST}", "db"),
        ("redis://${HOST}:${PORT:-6379}/0", "redis://db:6379/0"),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b}", "a:-b"),
        ("$${HOST}", "${HOST}"),
        ("$$$$", "$$"),
        ("$.usage.pages", "$.usage.pages"),
        ("5$", "5$"),
        ("${TRICKY}", "${HOST} $$"),
    ],
)
def test_references_are_filled_in(text: str, expanded: str) -> None:
    """Values come from the environment or the default, `$$` is a dollar, values are not read again."""
    assert expand(text, ENVIRON) == expanded


@pytest.mark.parametrize("name", ["NONE", "EMPTY"])
def test_a_variable_without_a_value_is_named(name: str) -> None:
    """Unset and empty are the same."""
    with pytest.raises(Unset, match=name):
        expand(f"a ${{{name}}}", ENVIRON)


@pytest.mark.parametrize("text", ["${", "${}", "${HOST", "${1X}", "${HOST-x}", "${A${HOST}}"])
def test_what_only_begins_like_a_reference_is_refused(text: str) -> None:
    """Nothing is left standing that looks like a reference."""
    with pytest.raises(BadReference):
        expand(text, ENVIRON)


def test_a_secret_that_may_be_absent_is_absent_with_its_variable() -> None:
    """An empty secret is absent too: nobody may sign in with an empty token."""
    resolver = Resolver({})
    tree = {"secret_key": "${NONE}", "control": {"admin_token": "${NONE:-}"}}
    assert resolver.resolve(tree) == {"secret_key": None, "control": {"admin_token": None}}
    assert resolver.problems == []


def test_a_section_left_null_counts_as_not_written() -> None:
    """Null stays only where it is one of the values."""
    tree = {"routes": None, "gateway": {"tls": None, "listen": None}, "unknown": None}
    assert Resolver({}).resolve(tree) == {"gateway": {"tls": None}, "unknown": None}


def test_problems_name_their_places() -> None:
    """Everything that cannot be filled in is collected."""
    resolver = Resolver({})
    resolver.resolve({"routes": [{"upstream": ["${UP}"], "name": "${"}], True: 1})
    assert [str(problem) for problem in resolver.problems] == [
        "routes[0].upstream[0]: the environment variable UP is not set; set it or write ${UP:-default}",
        "routes[0].name: not a reference: write ${NAME} or ${NAME:-default}, or $${ for a literal ${",
        "True: the key True is not text; put it in quotes",
    ]
