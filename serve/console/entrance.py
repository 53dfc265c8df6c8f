"""Signing in and out, and the static files."""

from __future__ import annotations

from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from contracts.errors import MldlError, NotFound, Unauthenticated
from serve.console.door import COOKIE, Page, acted, called, failed, form_of, keep, ours, safe
from serve.console.render import html

_TYPES = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}


def inside(path: str) -> str:
    """Give a path of this service to go on to; of anything else, the overview.

    >>> inside("/console/jobs"), inside("//evil.example"), inside("https://evil.example")
    ('/console/jobs', '/', '/')
    """
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"


def _form(onward: str, wrong: str = "", status: int = 200) -> Response:
    values = {"page": None, "title": "Sign in", "nav": (), "said": "", "section": ""}
    return safe(HTMLResponse(html("sign_in.html", **values, onward=inside(onward), wrong=wrong), status))


async def _sign_in_form(request: Request) -> Response:
    try:
        called(request)
    except MldlError as error:
        return failed(error)
    return _form(request.query_params.get("next", "/"))


async def _sign_in(request: Request) -> Response:
    onward = "/"
    try:
        called(request)
        ours(request)
        form = await form_of(request)
        onward = form.get("next", "/")
        token, _ = await run_in_threadpool(request.app.state.sessions.sign_in, form.get("key", "").strip())
    except Unauthenticated as error:
        return _form(onward, error.message, 401)
    except MldlError as error:
        return failed(error)
    answer = safe(RedirectResponse(inside(onward), 303))
    request.app.state.sessions.end(request.cookies.get(COOKIE, ""))
    keep(request, answer, token)
    return answer


def _sign_out(page: Page) -> Response:
    page.sign_out()
    answer = RedirectResponse("/console/sign-in", 303)
    answer.delete_cookie(COOKIE)
    return answer


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _TYPES:
        return failed(NotFound(f"there is no file {name!r} here"))
    content = (files("serve.console") / "static" / name).read_bytes()
    answer = safe(Response(content, media_type=_TYPES[name]))
    answer.headers["Cache-Control"] = "max-age=60"
    return answer


ROUTES = (
    Route("/console/sign-in", _sign_in_form, methods=["GET"]),
    Route("/console/sign-in", _sign_in, methods=["POST"]),
    acted("/console/sign-out", "read", _sign_out),
    Route("/console/static/{name}", _static, methods=["GET"]),
)
