"""What is wrong with a configuration: places in it, problems, and the one exception that is raised."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Place = tuple[str | int, ...]

# `scheme://user:password@host`: values are never quoted from secret fields, but a URL may hold one.
_CREDENTIALS = re.compile(r"//[^/@\s]*@")


class Problem(NamedTuple):
    """One thing that is wrong, where, and what to do."""

    place: Place
    text: str

    def __str__(self) -> str:
        line = f"{dotted(self.place)}: {self.text}" if self.place else self.text
        return _CREDENTIALS.sub("//***@", line)


class ConfigInvalid(Exception):
    """The configuration cannot be used. Its message has one line per problem and no secret."""

    def __init__(self, problems: Iterable[Problem | str]) -> None:
        self.problems = tuple(str(problem) for problem in problems)
        super().__init__("\n".join(self.problems))


def dotted(place: Place) -> str:
    """`("routes", 0, "name")` as `routes[0].name`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def repeats(
    values: Iterable[tuple[Place, str]], kind: str, *, secret: bool = False
) -> Iterator[Problem]:
    """A problem for every value that stands at an earlier place already."""
    first: dict[str, Place] = {}
    for place, value in values:
        other = first.setdefault(value, place)
        if other != place:
            shown = "the same value" if secret else repr(value)
            yield Problem(place, f"{shown} stands at {dotted(other)} too; give each its own {kind}")


def one_of(names: Iterable[str]) -> str:
    """What could have been written instead."""
    known = ", ".join(sorted(names))
    return f"known: {known}" if known else "none is configured"
