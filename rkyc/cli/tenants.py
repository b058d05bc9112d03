"""`rkyc tenants`: see `pauses`."""

from __future__ import annotations

from rkyc.cli.pauses import make_pauses

program = make_pauses("tenant")
