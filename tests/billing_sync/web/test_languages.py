"""The texts: the same ones in every language, and none that a page asks for lacks."""

import re
import string
from pathlib import Path

import pytest

from billing_sync.web.languages import LANGUAGES, Texts, listed, preferred, texts_of
from billing_sync.web.pages import TEMPLATES

ROOT = Path(__file__).parents[3]
ASKED = re.compile(r"""\b(?:t|texts)\(\s*(['"])([a-z0-9_.]+)\1\s*[,)]""")
BUILT = re.compile(r"""\b(?:t|texts)\(\s*['"]([a-z0-9_.]+)\.['"]\s*~""")


def places_of(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_language_has_every_text() -> None:
    """No page is half translated."""
    names = {language: texts_of(language).names() for language in LANGUAGES}
    assert len(set(names.values())) == 1, names["en"] ^ names["zh"]


def test_texts_take_the_same_values() -> None:
    """A number that is told in one language is told in the other."""
    english, chinese = (texts_of(language) for language in LANGUAGES)
    differ = [
        name
        for name in english.names()
        if places_of(english.raw(name)) != places_of(chinese.raw(name))
    ]
    assert differ == []


def test_chinese_is_chinese() -> None:
    """A text that was forgotten stands there in English."""
    english, chinese = (texts_of(language) for language in LANGUAGES)
    same = {name for name in english.names() if english.raw(name) == chinese.raw(name)}
    assert {name for name in same if re.search("[a-z]{4}", english.raw(name))} <= NOT_TRANSLATED


NOT_TRANSLATED: set[str] = set()


def test_every_text_that_is_asked_for_is_there() -> None:
    """In templates and in code."""
    sources = [*TEMPLATES.rglob("*.html"), *(ROOT / "billing_sync").rglob("*.py")]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    names = texts_of("en").names()
    asked = {name for _, name in ASKED.findall(text) if "." in name}
    assert len(asked) > 10
    assert asked - names - {"base.skip", "base.page"} == set()
    groups = {name.rpartition(".")[0] for name in names}
    assert {group for group in BUILT.findall(text) if group not in groups} == set()


def test_a_text_that_lacks_is_a_fault() -> None:
    """Not an empty place on a page."""
    with pytest.raises(KeyError):
        texts_of("en")("base.nonsense")


def test_words_of_the_ledger_may_be_newer() -> None:
    """What has no name yet is shown as it is."""
    assert texts_of("zh").word("base.themes", "dark") == "深色"
    assert texts_of("zh").word("base.themes", "sepia") == "sepia"


@pytest.mark.parametrize(
    ("offered", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,zh;q=0.9", "en"),
        ("fr, zh;q=0.1", "zh"),
        ("en;q=0.2, zh;q=0.3", "zh"),
        ("zh;q=0, en;q=0.1", "en"),
        ("zh;q=x", "en"),
        ("de,fr", "en"),
        ("\x00;;;,,", "en"),
    ],
)
def test_preferred(offered: str, language: str) -> None:
    """As RFC 9110 §12.5.4 has it, as far as needed."""
    assert preferred(offered) == language


def test_lists() -> None:
    """As each language separates."""
    assert [listed(Texts(name, {}), ["a", "b"]) for name in LANGUAGES] == ["a, b", "a、b"]
