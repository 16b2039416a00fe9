"""What every page of the console stands in: who may see it, the frame, and what happens when it fails.

Pages are only for sessions; forms only with the session's token. Whatever reads the ledger runs in a
thread: the same event loop answers callbacks.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session as Ledger
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from billing_sync.console.ports import Ports
from billing_sync.errors import BadQuestion, BillingSyncError, Forged
from billing_sync.store.engine import reading
from billing_sync.web.forms import form_of
from billing_sync.web.languages import Texts
from billing_sync.web.pages import Pages
from billing_sync.web.sessions import Session, Sessions

HOME: Final = "/console"
SIGN_IN: Final = f"{HOME}/sign-in"
COOKIE: Final = "tallygate_console"

T = TypeVar("T")


class NotFound(Exception):
    """There is no such thing to show."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of somebody who signed in; `fields` are those of his form."""

    request: Request
    session: Session
    texts: Texts
    fields: Mapping[str, str]

    def given(self, name: str) -> str:
        """A field of the form, empty if it is not there."""
        return self.fields.get(name, "")

    def asked(self, name: str) -> str | None:
        """A parameter of the address. Raises BadQuestion for an endless or unprintable one."""
        text = self.request.query_params.get(name, "").strip()
        if len(text) > 256 or not text.isprintable():
            raise BadQuestion(f"{name} must be 1 to 256 printable characters")
        return text or None


View = Callable[[Visit], Awaitable[Response]]


class Shell:
    """Makes routes of views."""

    def __init__(self, ports: Ports, pages: Pages) -> None:
        self.ports = ports
        self.pages = pages
        self.sessions = Sessions(ports.randomness)

    def get(self, path: str, view: View) -> Route:
        """A page."""
        return Route(f"{HOME}{path}", self._guarded(view, form=False), methods=["GET"])

    def post(self, path: str, act: View) -> Route:
        """What a form does."""
        return Route(f"{HOME}{path}", self._guarded(act, form=True), methods=["POST"])

    def page(self, visit: Visit, template: str, status: int = 200, /, **values: Any) -> Response:
        """A page in the frame."""
        return self.pages.page(
            visit.request,
            f"console/{template}",
            status,
            session=visit.session,
            csrf=visit.session.csrf,
            now_ms=self.ports.clock.now_ms(),
            stop=self.ports.stop(),
            **values,
        )

    async def read(self, job: Callable[[Ledger], T]) -> T:
        """What the ledger says, in one snapshot, in a thread. Raises SQLAlchemyError."""

        def run() -> T:
            with reading(self.ports.engine) as ledger:
                return job(ledger)

        return await to_thread.run_sync(run)

    def done(self, visit: Visit, text: str, to: str) -> Response:
        """Say that something was done, on another page."""
        visit.session.tell("good", text)
        return RedirectResponse(to, 303)

    def refused(self, visit: Visit, why: Exception | str, to: str) -> Response:
        """Say why it was not."""
        visit.session.tell("bad", str(why))
        return RedirectResponse(to, 303)

    def session_of(self, request: Request) -> Session | None:
        """Whose request it is."""
        token = request.cookies.get(COOKIE, "")
        return self.sessions.find(token, self.ports.clock.now_ms()) if token else None

    def _guarded(self, view: View, *, form: bool) -> Callable[[Request], Awaitable[Response]]:
        async def guard(request: Request) -> Response:
            session = self.session_of(request)
            if session is None:
                return self._away(request)
            texts = self.pages.texts(request)
            try:
                fields = await form_of(request, session.csrf) if form else {}
                return await view(Visit(request, session, texts, fields))
            except (NotFound, BillingSyncError, SQLAlchemyError) as problem:
                status, text = failure_of(problem, texts)
                visit = Visit(request, session, texts, {})
                return self.page(visit, "failed.html", status, text=text)

        return guard

    def _away(self, request: Request) -> Response:
        """Not signed in: a page leads to the sign-in and back, everything else is refused."""
        if request.method not in ("GET", "HEAD") or "hx-request" in request.headers:
            return self.pages.page(request, "console/signed_out.html", 401)
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        after = "" if path == HOME else f"?next={quote(path, safe='')}"
        return RedirectResponse(f"{SIGN_IN}{after}", 303)


def failure_of(problem: Exception, texts: Texts) -> tuple[int, str]:
    """The status and the words for what went wrong; a database's own words may hold anything."""
    match problem:
        case NotFound():
            return 404, texts("console.failed.not_found")
        case Forged():
            return 403, texts("console.failed.forged")
        case BadQuestion():
            return 400, str(problem)
        case BillingSyncError():
            return 409, str(problem)
    return 503, texts("console.failed.ledger")
