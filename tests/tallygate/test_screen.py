from tallygate.demo.report import Report
from tallygate.demo.screen import report_lines, table
from tallygate.demo.tally import STATIONS, Row

LARGE = 99_999_999
ROWS = [
    Row("requests", dict.fromkeys(STATIONS, 2000)),
    Row("tokens_total", {**dict.fromkeys(STATIONS, 33_936), "pushed": None}),
]


def test_the_table_fits_eighty_columns() -> None:
    """Headings are whole, numbers stand under them, and what is not known is a dash."""
    lines = list(table(ROWS))
    assert max(map(len, lines)) <= 80
    assert "".join(lines[:2]).split() == [
        "sent",
        "by",
        "seen",
        "by",
        "Redis",
        "+",
        "Usage",
        "meter",
        "client",
        "upstream",
        "journal",
        "ledger",
        "Info",
        "pushed",
        "collected",
        "difference",
    ]
    assert lines[3].split() == ["requests", *["2000"] * 7, "0"]
    assert lines[4].split()[6] == "-"


def test_large_numbers_are_never_cut() -> None:
    """Columns grow with what stands in them, and stay in line."""
    lines = list(table([Row("requests", dict.fromkeys(STATIONS, LARGE))]))
    assert lines[-1].split()[1:-1] == [str(LARGE)] * 7
    assert len({len(line) for line in lines}) == 1


def package(used: str) -> dict[str, object]:
    entry = {"relatedInstanceId": "i-1", "usageValue": used}
    return {"product_id": "PKG", "customer_id": "domain-1", "usageInfo": [entry]}


def test_the_report_names_packages_and_gives_a_verdict() -> None:
    """Each package's usage with the instance that used it; then whether all agrees."""
    report = Report(
        5, ROWS, [package("0.5")], [{"state": "collected", "relate_pkg_instance": "p"}], []
    )
    lines = "\n".join(report_lines(report, keep=False)).splitlines()
    assert "package PKG of domain-1: 0.5 units used" in lines
    assert "    relatedInstanceId i-1" in lines
    assert "1 usage records at the marketplace, 1 name their package" in lines
    assert lines[-1] == "every difference is 0"
    assert max(map(len, lines)) <= 80


def test_a_difference_is_said_loudly() -> None:
    """With every finding of the marketplace."""
    rows = [Row("requests", {**dict.fromkeys(STATIONS, 5), "pushed": 4})]
    lines = list(report_lines(Report(5, rows, [], [], [{"check": "late"}]), keep=False))
    assert lines[-1] == "NOT EXACT: see what differs above"
    assert "finding: {'check': 'late'}" in lines


def test_who_stays_gets_the_urls() -> None:
    """And learns how to end it."""
    report = Report(5, ROWS, [], [], [], urls={"gateway": "http://127.0.0.1:1"})
    lines = list(report_lines(report, keep=True))
    assert lines[-2:] == ["gateway         http://127.0.0.1:1", "Ctrl-C ends it"]
