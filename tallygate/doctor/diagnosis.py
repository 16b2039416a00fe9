"""What the doctor says of one thing that was looked at. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Only a finding has to be mended."""

    OK = "ok"
    NOTE = "note"
    FINDING = "finding"


@dataclass(frozen=True)
class Diagnosis:
    """`about` is what was looked at; `text` says what was seen, or what to do."""

    about: str
    state: State
    text: str

    def as_json(self) -> dict[str, str]:
        return {"about": self.about, "state": self.state.value, "text": self.text}


def ok(about: str, text: str) -> Diagnosis:
    return Diagnosis(about, State.OK, text)


def note(about: str, text: str) -> Diagnosis:
    return Diagnosis(about, State.NOTE, text)


def finding(about: str, text: str) -> Diagnosis:
    return Diagnosis(about, State.FINDING, text)
