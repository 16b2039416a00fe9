"""In which language and theme somebody sees the pages: what he chose, else what his browser asks for."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from billing_sync.web.languages import LANGUAGES, preferred
from billing_sync.web.visits import set_cookie

THEMES: Final = ("auto", "light", "dark")
_LANGUAGE: Final = "tallygate_lang"
_THEME: Final = "tallygate_theme"
_YEAR_S: Final = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Choice:
    """What is used for this request. `chosen_now` are cookies to be set: the link asked for it."""

    language: str
    theme: str
    chosen_now: tuple[tuple[str, str], ...]


def choice_of(request: Request) -> Choice:
    """From `?lang=` and `?theme=`, the cookies, and Accept-Language, in this order."""
    asked = request.query_params
    now = []
    if (language := asked.get("lang", "")) in LANGUAGES:
        now.append((_LANGUAGE, language))
    else:
        language = request.cookies.get(_LANGUAGE, "")
    if (theme := asked.get("theme", "")) in THEMES:
        now.append((_THEME, theme))
    else:
        theme = request.cookies.get(_THEME, "")
    if language not in LANGUAGES:
        language = preferred(request.headers.get("accept-language", ""))
    return Choice(language, theme if theme in THEMES else THEMES[0], tuple(now))


def remember(request: Request, response: Response, choice: Choice) -> None:
    """Keep what was chosen now, for a year."""
    for name, value in choice.chosen_now:
        # Lax: who follows a link from elsewhere still sees his language.
        set_cookie(response, request, name, value, path="/", max_age=_YEAR_S, samesite="lax")


def link(request: Request, **changed: str | None) -> str:
    """This page with other parameters, None to leave one out; the choices themselves are left out."""
    kept = {
        name: value
        for name, value in request.query_params.items()
        if name not in ("lang", "theme") and name not in changed
    }
    asked = kept | {name: value for name, value in changed.items() if value is not None}
    return f"?{urlencode(asked)}" if asked else request.url.path
