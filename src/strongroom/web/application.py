"""Four addresses: `/health`, `/livez`, `/readyz`, `/metrics`.

Whatever happens, an answer holds no trace and nothing of the request, and is not to be kept by
whoever passes it on. What is told, and how, is decided in `service.health`.
"""

from __future__ import annotations

import http
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from strongroom.service.health import (
    Provider,
    Told,
    tell_alive,
    tell_health,
    tell_metrics,
    tell_ready,
)

if TYPE_CHECKING:
    from starlette.requests import Request

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def _now() -> datetime:
    return datetime.now(UTC)


def web_application(provider: Provider, clock: Callable[[], datetime] = _now) -> Starlette:
    """The application that tells what `provider` knows, as of the time of each request.

    GET and HEAD are answered, other methods with 405. A provider that raises makes a 500 without
    a word about why; the error goes to the log.
    """

    # Not `async`: a provider may have to wait, in a thread of its own.
    def health(_: Request) -> Response:
        return _answer(tell_health(provider, clock()))

    def ready(_: Request) -> Response:
        return _answer(tell_ready(provider))

    def metrics(_: Request) -> Response:
        return _answer(tell_metrics(provider, clock()))

    async def alive(_: Request) -> Response:
        return _answer(tell_alive())

    application = Starlette(
        routes=[
            Route("/health", health),
            Route("/livez", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
        ],
        exception_handlers={HTTPException: _refuse, Exception: _break},
    )
    application.router.redirect_slashes = False  # it would send what the request said of its host
    return application


def _answer(told: Told) -> Response:
    return Response(
        told.content,
        told.http_status,
        headers={**_HEADERS, "Content-Type": told.media_type},
    )


def _refuse(_: Request, error: Exception) -> Response:
    """404 and 405, and the methods that there are."""
    assert isinstance(error, HTTPException), "it is registered for these"
    refused = _answer(_in_words(error.status_code))
    if error.headers and "Allow" in error.headers:
        refused.headers["Allow"] = error.headers["Allow"]
    return refused


def _break(_: Request, error: Exception) -> Response:
    del error  # it is logged by the server
    return _answer(_in_words(500))


def _in_words(status: int) -> Told:
    phrase = http.HTTPStatus(status).phrase.lower()
    return Told(status, "text/plain; charset=utf-8", phrase.encode() + b"\n")
