"""The doctor's report as people and as scripts read it. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tallygate.doctor.diagnosis import Diagnosis, State
from tallygate.reconciliation.tables import counted, table
from tallygate.simulator.examination import Examined
from tallygate.simulator.findings import Finding
from tallygate.simulator.wording import shown_for

_TITLES: Final = ("version", "interface", "case", "calls", "codes", "ms", "KooGallery would say")
_NAMED: Final = 3  # cases named for one finding


def findings_in(diagnoses: Sequence[Diagnosis], examined: Sequence[Examined]) -> int:
    """How much there is to mend."""
    wrong = sum(each.state is State.FINDING for each in diagnoses)
    return wrong + len({finding for each in examined for finding in each.seen})


def report_lines(
    diagnoses: Sequence[Diagnosis], url: str, seed: int, examined: Sequence[Examined]
) -> Iterator[str]:
    """Everything that was looked at; wrong calls that were refused share a line."""
    if diagnoses:
        yield from (f"  {each.state.value:8}{each.about:12}{each.text}" for each in diagnoses)
        yield ""
    if examined:
        calls = sum(each.calls for each in examined)
        yield f"{url}: {counted(len(examined), 'case')}, {counted(calls, 'call')}, seed {seed}"
        yield from table(_TITLES, _rows(examined))
        yield ""
        yield from _details(examined)
    wrong = findings_in(diagnoses, examined)
    yield counted(wrong, "finding") if wrong else "nothing to mend"


def _rows(examined: Sequence[Examined]) -> Iterator[tuple[str, ...]]:
    """Version by version; of the wrong calls only those with findings stand alone."""
    for version in dict.fromkeys(each.case.version for each in examined):
        refused: dict[str, list[Examined]] = {}
        for each in (each for each in examined if each.case.version is version):
            if each.case.is_right or each.seen:
                yield _row([each], each.case.title or "-")
            else:
                refused.setdefault(each.case.activity, []).append(each)
        for members in refused.values():
            yield _row(members, f"{counted(len(members), 'wrong call')}, refused")


def _row(members: Sequence[Examined], title: str) -> tuple[str, ...]:
    case = members[0].case
    codes = sorted({code for each in members for code in each.codes})
    said = dict.fromkeys(_said(finding) for each in members for finding in each.seen)
    return (
        case.version.value,
        case.activity or "-",
        title,
        str(sum(each.calls for each in members)),
        " ".join(codes) or "-",
        str(max(each.slowest_ms for each in members)),
        "; ".join(said) or "ok",
    )


def _said(finding: Finding) -> str:
    return shown_for(finding) or "(nothing, but it is wrong)"


def _details(examined: Iterable[Examined]) -> Iterator[str]:
    """Each finding once, with the cases it came up in."""
    places: dict[Finding, list[str]] = {}
    for each in examined:
        name = f"{each.case.version.value} {each.case.activity} {each.case.title}".strip()
        for finding, ways in each.seen.items():
            places.setdefault(finding, []).append(f"{name} ({', '.join(ways)})")
    for finding, names in places.items():
        about = f"{finding.subject}: " if finding.subject else ""
        yield f"  FINDING {about}{finding.message} [{finding.check}]"
        yield from (f"          in {name}" for name in names[:_NAMED])
        if len(names) > _NAMED:
            yield f"          and in {counted(len(names) - _NAMED, 'more case')}"
    if places:
        yield ""


def report_json(
    diagnoses: Sequence[Diagnosis], url: str, seed: int, examined: Sequence[Examined]
) -> dict[str, object]:
    """The same for scripts, case by case."""
    return {
        "findings": findings_in(diagnoses, examined),
        "checks": [each.as_json() for each in diagnoses],
        "url": url,
        "seed": seed,
        "cases": [_case_json(each) for each in examined],
    }


def _case_json(each: Examined) -> dict[str, object]:
    case = each.case
    return {
        "version": case.version.value,
        "activity": case.activity,
        "case": case.title,
        "calls": each.calls,
        "codes": sorted(each.codes),
        "slowest_ms": each.slowest_ms,
        "findings": [
            {**finding.as_json(), "shown": shown_for(finding), "in": ways}
            for finding, ways in each.seen.items()
        ],
    }
