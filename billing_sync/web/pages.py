"""Renders the pages: templates with their texts, formats and static files, in the visitor's language."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from billing_sync.web import choices, formatting
from billing_sync.web.assets import url_of
from billing_sync.web.choices import THEMES, choice_of
from billing_sync.web.formatting import Times
from billing_sync.web.languages import LANGUAGES, NAMES, TAGS, Texts, texts_of
from metering.windows import HOUR_MS

TEMPLATES: Final = Path(__file__).parent / "templates"


@dataclass
class Pages:
    """`static` is where the static files are served, `zone` the one times are shown in, `shared`
    what every template may use besides."""

    static: str
    zone: tzinfo
    shared: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.times = Times(self.zone)
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(
            number=formatting.number,
            trimmed=formatting.trimmed,
            money=formatting.money,
            utc=formatting.utc,
        )
        self._environment.globals.update(
            self.shared,
            asset=partial(url_of, self.static),
            times=self.times,
            languages=[(language, NAMES[language]) for language in LANGUAGES],
            themes=THEMES,
            HOUR_MS=HOUR_MS,
        )

    def page(
        self, request: Request, template: str, status: int = 200, /, **values: Any
    ) -> Response:
        """A page, or a part of one, in the language and theme of whoever asks."""
        choice = choice_of(request)
        texts = texts_of(choice.language)
        html = self._environment.get_template(template).render(
            t=texts,
            lang=TAGS[choice.language],
            language=choice.language,
            theme=choice.theme,
            link=partial(choices.link, request),
            path=request.url.path,
            ago=partial(ago, texts),
            **values,
        )
        response = HTMLResponse(html, status)
        choices.remember(request, response, choice)
        return response

    def texts(self, request: Request) -> Texts:
        """The texts of whoever asks."""
        return texts_of(choice_of(request).language)


def ago(texts: Texts, at_ms: int, now_ms: int) -> str | Markup:
    """How long ago something was, or how long it takes, in words."""
    unit, count = formatting.span_of(now_ms - at_ms)
    if count == 0:
        return texts("base.just_now")
    direction = "ago" if at_ms <= now_ms else "ahead"
    return texts(f"base.{direction}", span=texts(f"base.span.{unit}", count=count))
