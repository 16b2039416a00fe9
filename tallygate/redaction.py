"""Takes secrets out of text that is about to be logged. Pure.

Nothing of ours logs a secret on purpose; this is for what libraries and exceptions say.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

HIDDEN: Final = "***"
MAX_TEXT: Final = 32_768  # of one value; what is longer is cut, so that the patterns are bounded
_MIN_SECRET: Final = 6  # shorter ones would hide half of all words

# Names whose values are secrets, also as the end of longer ones (`admin_token`, `x-api-key`).
_NAME: Final = (
    r"(?:authorization|authtoken|token|secret|secret_?key|access_?key|api[-_]?key|kit_key"
    r"|app_secret|private_key|password|passwd|signature|body-sign|cookie)"
)
_NAMED: Final = re.compile(rf"(?i)^[\w.-]{{0,32}}{_NAME}$|^(?:ak|sk)$")
_SIGN: Final = r"(?:\s{0,4}=\s{0,4}|(?<=['\"])\s{0,4}[:,]\s{0,4}(?=b?['\"]))"
_WORD: Final = r"(?!(?:bearer|basic|sdk-hmac-sha256)\b)[^\s'\"&,;<>*]"
_PATTERNS: Final = (
    (re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*(?:-----END[^-]*-----)?"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic|sdk-hmac-sha256)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # Name and value as queries, JSON, Python and headers write them. Prose has colons too, so that
    # what follows one without a quote must be long.
    (
        re.compile(rf"(?i)(?<![A-Za-z0-9])({_NAME}['\"]?\)?{_SIGN}b?['\"]?){_WORD}{{4,}}"),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(rf"(?i)(?<![A-Za-z0-9])({_NAME}\s{{0,4}}:\s{{0,4}}){_WORD}{{12,}}"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?<![\w-])(tg|sk|whsec)[-_][\w-]{16,}"), rf"\1-{HIDDEN}"),
    (re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), HIDDEN),
    (re.compile(r"://[^/\s@:]{0,256}:[^/\s@]{1,256}@"), f"://{HIDDEN}@"),
)


class Redactor:
    """Hides these secrets, and whatever looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        exact = sorted({each for each in secrets if len(each) >= _MIN_SECRET}, key=len)
        self._exact = re.compile("|".join(map(re.escape, reversed(exact)))) if exact else None

    def text(self, text: str) -> str:
        """The text without them, and no longer than MAX_TEXT."""
        if len(text) > MAX_TEXT:
            text = f"{text[:MAX_TEXT]} …"
        if self._exact is not None:
            text = self._exact.sub(HIDDEN, text)
        for pattern, put in _PATTERNS:
            text = pattern.sub(put, text)
        return text

    def value(self, name: str, value: Any) -> Any:
        """What may be logged under a name: numbers as they are, all else as redacted text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if _NAMED.match(name):
            return HIDDEN
        if isinstance(value, Mapping):
            return {str(key): self.value(str(key), each) for key, each in value.items()}
        return self.text(value if isinstance(value, str) else str(value))
