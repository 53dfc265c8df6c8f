"""How a request becomes a page: session, role, CSRF, errors, headers. Not here: what any page shows or does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from contracts.access import LOCAL, Act, Principal
from contracts.errors import Broken, Forbidden, Incompatible, MldlError, Unauthenticated
from serve.calls import Actors
from serve.console import hosts
from serve.console.render import NAV, html
from serve.console.session import LASTS_S, Session
from serve.console.trail import Trails

log = logging.getLogger(__name__)
COOKIE = "mldl_session"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self'; object-src 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

CARD_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True)
class Page:
    """What a page or an action is given."""

    actors: Actors
    principal: Principal
    session: Session
    at: str
    path: dict[str, str]
    query: dict[str, str]
    form: dict[str, str] = field(default_factory=dict)
    sign_out: Callable[[], None] = lambda: None
    trails: Trails = field(default_factory=Trails)

    def render(self, template: str, *, title: str, status: int = 200, **values: Any) -> Response:
        """Answer with a template; it sees ``page``, ``title``, ``nav``, ``said`` and the values."""
        said = self.query.get("said", "")[:300]
        shown = {"page": self, "title": title, "nav": NAV, "said": said, "section": _section(self.at)}
        return HTMLResponse(html(template, **shown, **values), status)

    def may(self, act: Act) -> bool:
        """Say whether who looks may do this: only then it is offered."""
        return self.principal.may(act)

    def back(self, to: str, said: str) -> Response:
        """Go to a page after an action, and say there what was done."""
        return RedirectResponse(f"{to}?said={quote(said)}", 303)

    def done(self, verb: Callable[..., Any], name: str, to: str, said: str) -> Response:
        """Have a verb done to what has that name, by who looks and for the form's reason; then go to a page."""
        verb(name, reason=self.reason(), by=self.principal.name)
        return self.back(to, said)

    def reason(self) -> str:
        """Read the form's reason.

        Raises:
            Incompatible: There is none.
        """
        if not (reason := self.form.get("reason", "").strip()):
            raise Incompatible("say why: the reason goes into the record")
        return reason


class _Found(NamedTuple):
    session: Session
    principal: Principal
    token: str | None  # to be set as the cookie


Handler = Callable[[Page], Response]


def is_page(path: str) -> bool:
    """Say whether a path is the console's, so that its errors are for a person.

    >>> is_page("/console/nothing"), is_page("/api/mldl/v1/jobs")
    (True, False)
    """
    return path == "/" or path.startswith("/console")


def page_of_its_own(html: str) -> Response:
    """Answer with a whole page that carries its style, loads nothing and runs nothing, such as a model card."""
    return HTMLResponse(html, headers={"Content-Security-Policy": CARD_POLICY})


def shown(path: str, handler: Handler) -> Route:
    """Make the route of a page, which every role may read."""
    return Route(path, _answering("read", handler), methods=["GET"])


def acted(path: str, act: Act, handler: Handler) -> Route:
    """Make the route of a form's action: a role that may, a token of this session, an Origin that is ours."""
    return Route(path, _answering(act, handler), methods=["POST"])


def safe(answer: Response) -> Response:
    """Add the headers that every answer of the console carries, but for those that it has stricter ones of."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def keep(request: Request, answer: Response, token: str) -> None:
    """Give the browser its session: out of reach of scripts and of other sites."""
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    answer.set_cookie(COOKIE, token, max_age=int(LASTS_S), httponly=True, samesite="strict", secure=secure)


def ours(request: Request) -> None:
    """Refuse a post that another site caused.

    Raises:
        Forbidden: Its Origin is not this service.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Forbidden("this form was sent from another site")
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Forbidden("this form was sent from another site")


def called(request: Request) -> None:
    """Refuse a request that calls this service by another's name.

    Raises:
        Misdirected: See ``serve.console.hosts``.
    """
    hosts.check(request.headers.get("host", ""), request.app.state.settings)


async def form_of(request: Request) -> dict[str, str]:
    """Read a form as browsers send it.

    Raises:
        Incompatible: It is not one, or its text is no UTF-8.
    """
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=200))
    except ValueError as error:
        raise Incompatible("this is not a form") from error


def failed(error: MldlError, page: Page | None = None) -> Response:
    """Say an error to a person."""
    values = {"page": page, "title": error.code.replace("_", " ").capitalize(), "nav": NAV, "said": "", "section": ""}
    return safe(HTMLResponse(html("error.html", **values, error=error), error.http_status))


def _answering(act: Act, handler: Handler) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        page: Page | None = None
        try:
            called(request)
            found = await run_in_threadpool(_session_of, request)
            page = _page_of(request, found)
            if request.method == "POST":
                ours(request)
                page = _page_of(request, found, await form_of(request))
                page.session.check(page.form.get("csrf", ""))
            if not page.may(act):
                raise Forbidden(f"{page.principal.name} has the role {page.principal.role}, which may not {act}")
            made = safe(await run_in_threadpool(handler, page))
        except Unauthenticated as error:
            if request.method == "POST":
                return failed(error)
            return safe(RedirectResponse(f"/console/sign-in?next={quote(request.url.path)}", 303))
        except MldlError as error:
            if isinstance(error, Broken):
                log.error("%s %s", request.method, request.url.path, exc_info=error)
            return failed(error, page)
        if found.token is not None:
            keep(request, made, found.token)
        return made

    return answer


def _session_of(request: Request) -> _Found:
    sessions = request.app.state.sessions
    if (known := sessions.find(request.cookies.get(COOKIE, ""))) is not None:
        return _Found(known[0], known[1], None)
    token, session = sessions.local()
    return _Found(session, LOCAL, token)


def _page_of(request: Request, found: _Found, form: dict[str, str] | None = None) -> Page:
    path = {name: str(value) for name, value in request.path_params.items()}
    return Page(
        actors=request.app.state.actors,
        principal=found.principal,
        session=found.session,
        at=request.url.path,
        path=path,
        query=dict(request.query_params),
        form=form or {},
        trails=request.app.state.trails,
        sign_out=lambda: request.app.state.sessions.end(request.cookies.get(COOKIE, "")),
    )


def _section(at: str) -> str:
    """Say which entry of the navigation a path belongs to.

    >>> _section("/console/deployments/dep-1"), _section("/")
    ('/console/deployments', '/')
    """
    return next((path for path, _ in reversed(NAV) if path != "/" and at.startswith(path)), "/")
