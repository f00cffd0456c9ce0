"""Who may talk to the review server: the page it opened, on this machine, with the token of its address.

Any page a person visits can send requests to 127.0.0.1. So every request must name this server as its host (which ends
DNS rebinding), come from this server's own pages where it says where it comes from, and carry the token.
"""

from __future__ import annotations

import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-nttt-token"
_PAGE_RULES = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Guard:
    """Refuse every request but those of the page that this server itself opened.

    Args:
        app: what is guarded.
        port: the server listens to.
        token: part of the address that is opened; a cookie holds it from then on.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._cookie = f"nttt_review_{port}"
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        refusal = self._refusal(request)
        if refusal is not None:
            await PlainTextResponse(refusal, 403)(scope, receive, send)
            return
        given = request.query_params.get("token")
        if scope["path"] == "/" and given is not None:
            # The token leaves the address bar, and with it the history and what is copied from it.
            response = RedirectResponse("/", 303)
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            await response(scope, receive, send)
            return

        async def send_with_rules(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _PAGE_RULES.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_rules)

    def _refusal(self, request: HTTPConnection) -> str | None:
        host = request.headers.get("host", "")
        if host not in self._hosts:
            return f"This server answers to 127.0.0.1 only, not to {host[:100]!r}."
        origin = request.headers.get("origin")
        if origin is not None and origin not in {f"http://{known}" for known in self._hosts}:
            return "Other pages may not use this server."
        # Another port of this machine is another origin, but the same site: it gets the cookie, and no answer.
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and request.url.path != "/":
            return "Other pages may not use this server."
        given = (
            request.query_params.get("token") if request.url.path == "/" else None,
            request.headers.get(TOKEN_HEADER),
            request.cookies.get(self._cookie),
        )
        if not any(
            value is not None and secrets.compare_digest(value.encode(), self._token.encode()) for value in given
        ):
            return "Open the address that the program printed: it holds the token of this session."
        if request.scope["method"] not in ("GET", "HEAD") and origin is None and TOKEN_HEADER not in request.headers:
            return "A change must come from this server's own page."
        return None
