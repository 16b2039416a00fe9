"""The texts of the pages in each language: one folder of plain files per language, one file per part.

`locales/en/console.toml` holds the texts `console.…`. A text that lacks is a fault of ours, found by
the tests, and raises KeyError.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "locales"
LANGUAGES: Final = ("en", "zh")
NAMES: Final = MappingProxyType({"en": "English", "zh": "中文"})
TAGS: Final = MappingProxyType({"en": "en", "zh": "zh-Hans"})  # for the `lang` attribute
_MOST_OFFERED: Final = 20


class Texts:
    """The texts of one language: `texts("base.skip")`, `texts("base.page", number=2)`."""

    def __init__(self, language: str, texts: Mapping[str, str]) -> None:
        self.language = language
        self._texts = texts

    def __call__(self, name: str, /, **values: object) -> str:
        """The text with the values in its {places}. Raises KeyError."""
        text = self._texts[name]
        return text.format_map(values) if values else text

    def word(self, group: str, value: str) -> str:
        """What `value` is called, itself if it has no name: words of the ledger may be newer."""
        return self._texts.get(f"{group}.{value}", value)

    def names(self) -> frozenset[str]:
        """Every text there is."""
        return frozenset(self._texts)

    def raw(self, name: str) -> str:
        """The text as it stands, with its {places}."""
        return self._texts[name]


@cache
def texts_of(language: str) -> Texts:
    """The texts of one of LANGUAGES. Read once."""
    found: dict[str, str] = {}
    for path in sorted((FOLDER / language).glob("*.toml")):
        found.update(_flat(path.stem, tomllib.loads(path.read_text("utf-8"))))
    return Texts(language, found)


def preferred(offered: str) -> str:
    """The best of LANGUAGES for an Accept-Language header; the first one if none is wanted."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(offered.split(",")[:_MOST_OFFERED]):
        tag, _, quality = part.strip().partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and (weight := _weight(quality)) > 0:
            wanted.append((-weight, place, language))
    return min(wanted)[2] if wanted else LANGUAGES[0]


def _weight(quality: str) -> float:
    name, _, value = quality.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip() == "q" and len(value) < 8 else 0.0
    except ValueError:
        return 0.0


def _flat(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", value


def listed(texts: Texts, items: Sequence[str]) -> str:
    """Several things in a row, as the language separates them."""
    return ("、" if texts.language == "zh" else ", ").join(items)
