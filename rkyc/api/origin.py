"""Keeps web pages of others away from a server that trusts whoever reaches it.

On the loopback no key is asked, so any page that the user's browser shows could send requests here. A
request that a page of another origin sends is refused, and so is one to a name that is no name of the
loopback: a foreign name may be made to point here.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from rkyc.api.problems import Problem

# These change nothing, and a foreign page can't read the answer.
_SAFE = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """Return whether a name or an address means this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@web.middleware
async def refuse_foreign_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that only a page of somebody else would send."""
    asked = _split(f"//{request.headers.get('Host', '')}")
    if asked is not None and not is_loopback(asked[0]):
        raise Problem(
            403,
            "HOST_REFUSED",
            "the Host header names no loopback address: a proxy in front must send its own target, such as 127.0.0.1",
        )
    if request.method not in _SAFE and _is_foreign(request, asked):
        raise Problem(403, "ORIGIN_REFUSED", "the request comes from a page of another origin")
    return await handler(request)


def _is_foreign(request: web.Request, asked: tuple[str, int | None] | None) -> bool:
    # A browser says it itself; behind a proxy only the browser can know.
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is not None and _split(origin) != asked


def _split(address: str) -> tuple[str, int | None] | None:
    """Return host and port, or None where there is none."""
    try:
        parts = urlsplit(address)
        return (parts.hostname, parts.port) if parts.hostname else None
    except ValueError:
        return ("", None)
