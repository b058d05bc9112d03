"""The names of kinds of failure: the same over ids, numbers and addresses, another for other words."""

from __future__ import annotations

import pytest

from rkyc.flow.fingerprint import fingerprint_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no answer in 3 s", "no answer in 17.5 s"),
        (
            "job 0197c5a2-7b1d-7000-8000-000000000001 is gone",
            "job 01998e00-0000-7abc-9def-0123456789ab is gone",
        ),
        ("<object at 0x7f3a2c> refused", "<object at 0xdeadbeef> refused"),
        ("request req_7fA91x was refused", "request req_81bb was refused"),
        ("GET https://a.example/v1/x?y=1 failed", "GET http://b.example:8080/z failed"),
        ("can't reach 10.0.0.1:5432", "can't reach 192.168.7.9:6432"),
        ("mail to a.b@c.example bounced", "mail to me@d.example bounced"),
        ("no file /tmp/a/b.pdf", "no file ./c.pdf"),
        ("field 'name' is missing", 'field "corp" is missing'),
        ("sha 9f86d081884c7d65", "sha 60303ae22b998861"),
        ("Timed   out\nagain", "timed out again"),
    ],
)
def test_what_varies_does_not_count(one: str, other: str) -> None:
    assert fingerprint_of("s", "CODE", one) == fingerprint_of("s", "CODE", other)


def test_step_code_and_words_count() -> None:
    names = {
        fingerprint_of(step, code, message)
        for step in ("parse", "load")
        for code in ("LLM_TIMEOUT", "STEP_TIMEOUT")
        for message in ("no answer", "no anchor", None)
    }
    assert len(names) == 12


def test_a_fingerprint_is_a_promise() -> None:
    # Groups of dead letters carry it in the database: another formula would tear them apart.
    assert fingerprint_of("parse", "LLM_TIMEOUT", "no answer in 3 s") == "b60b4dc9ae3a"
