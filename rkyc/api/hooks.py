"""Webhooks from others, which become signals to a job.

`POST /api/v1/hooks/{job_id}/{name}`, signed as Standard Webhooks has it: `webhook-id`, `webhook-timestamp` (seconds)
and `webhook-signature` (`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; several, apart by spaces,
while a secret changes). Each hook has a secret of its own, made of RKYC_HOOK_SECRET, the job and the name: who
knows one can send this signal to this job and nothing else. A delivery that comes again counts once.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, 2026-11.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

from aiohttp import web

from rkyc.api.problems import Problem
from rkyc.api.services import SERVICES
from rkyc.api.wire import read_job_id, read_json, respond
from rkyc.engine.messages import HOOKS, derive_hook_key

# How old or how far ahead a delivery's time may be, so that none is sent again much later. Seconds.
REPLAY_S = 300
_SIGNATURES_MAX = 10


def routes() -> list[web.RouteDef]:
    """Return the route of webhooks."""
    return [web.post(HOOKS + "/{job_id}/{name}", take_delivery)]


async def take_delivery(request: web.Request) -> web.Response:
    """Turn a signed delivery into a signal: 202, the first time and every other time."""
    services = request.app[SERVICES]
    master = services.options.hook_secret
    if master is None:
        raise Problem(403, "HOOKS_OFF", "this server takes no webhooks: set RKYC_HOOK_SECRET")
    job_id, name = read_job_id(request), request.match_info["name"]
    delivery_id = await _check_signature(request, derive_hook_key(master, job_id, name))
    value = await read_json(request)
    is_new = await services.client.signal(job_id, name, value, delivery_id=delivery_id, source="webhook")
    return respond({"job_id": job_id, "name": name, "repeated": not is_new}, status=202)


async def _check_signature(request: web.Request, key: bytes) -> str:
    """Return the delivery's id.

    Raises:
        Problem: 401, unsigned, signed otherwise, or signed too long ago.
    """
    delivery_id = request.headers.get("webhook-id", "")
    stamp = request.headers.get("webhook-timestamp", "")
    given = request.headers.get("webhook-signature", "").split()[:_SIGNATURES_MAX]
    if not delivery_id or not stamp.isascii() or not stamp.isdecimal() or not given:
        raise _refuse("it needs the headers webhook-id, webhook-timestamp and webhook-signature")
    signed = f"{delivery_id}.{stamp}.".encode("utf-8", "surrogateescape") + await request.read()
    wanted = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
    # Each is compared in constant time, and all of them are.
    matches = [hmac.compare_digest(one.encode("utf-8", "surrogateescape"), wanted) for one in given]
    if not any(matches):
        raise _refuse("the signature is not that of this hook's secret over id.timestamp.body")
    if abs(time.time() - int(stamp[:20])) > REPLAY_S:
        raise _refuse(
            f"it was signed more than {REPLAY_S} s ago or ahead: sign it anew, under the same webhook-id"
        )
    return delivery_id


def _refuse(reason: str) -> Problem:
    return Problem(401, "SIGNATURE_INVALID", f"the delivery is refused: {reason}")
