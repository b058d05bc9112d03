"""A page of somebody else must not steer a server that asks for no key; and nobody else reaches it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from rkyc.api.origin import is_loopback
from rkyc.errors import ConfigError
from rkyc.web import require_loopback, serve_web
from tests.support.probes import registry
from tests.support.web import Web, open_web

pytestmark = pytest.mark.anyio


@pytest.fixture
async def web(dsn: str) -> AsyncIterator[Web]:
    """The API alone."""
    async with open_web(dsn, registry, works=False) as opened:
        yield opened


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LocalHost."])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "", "localhost.example.com"])
def test_address_that_others_reach_refuses_the_start(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match="reverse proxy"):
        require_loopback(host, 8080)


async def test_taken_port_is_named(web: Web) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is taken.*--port 0"):
            async with serve_web(web.app, None, host="127.0.0.1", port=port):
                pass


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8080", "a:b:c"])
async def test_request_to_a_foreign_name_is_refused(web: Web, host: str) -> None:
    status, said = await web.get("/api/v1/jobs", headers={"Host": host})
    assert (status, said["code"]) == (403, "HOST_REFUSED")


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:1", "[::1]:8080"])
async def test_request_to_a_name_of_the_loopback_is_taken(web: Web, host: str) -> None:
    assert (await web.get("/api/v1/jobs", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_foreign_page_can_not_submit(web: Web, headers: dict[str, str]) -> None:
    status, said = await web.post("/api/v1/jobs", {"pipeline": "single", "input": {}}, headers=headers)
    assert (status, said["code"]) == (403, "ORIGIN_REFUSED")
    # A link on such a page may still be followed.
    assert (await web.get("/api/v1/jobs", headers=headers))[0] == 200


async def test_own_page_can_submit_also_behind_a_proxy(web: Web) -> None:
    body = {"pipeline": "single", "input": {}}
    assert (await web.post("/api/v1/jobs", body, headers={"Origin": web.url}))[0] == 202
    behind = {"Origin": "https://rkyc.bank.example", "Sec-Fetch-Site": "same-origin"}
    assert (await web.post("/api/v1/jobs", body, headers=behind))[0] == 202
