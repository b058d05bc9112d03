"""Seals payloads per tenant: AES-256-GCM under a data key of the tenant's, which the master key wraps.

`ENCRYPTION_KEY` is the master key that wraps; older ones (`ENCRYPTION_KEY_V<n>`) still open what they wrapped. A
master key is known by its fingerprint, so that its number may change. To rotate, data keys are wrapped anew and no
payload is touched. To erase a tenant, its data key is deleted: what it sealed, in tables, blobs and backups of those, is
noise from then on, at the latest when the processes that hold the key have forgotten it (`CACHE_S`).
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rkyc.errors import EncryptionError
from rkyc.flow import payload
from rkyc.store.pool import Connection, Pool, Record, fetch, fetch_row, fetch_value
from rkyc.store.queue import audit
from rkyc.store.statements import load

_SQL = load(__file__)
# Source: NIST SP 800-38D, 8.2: 96 bits, by chance.
_NONCE_BYTES = 12
# For how long a process keeps a data key. Seconds.
CACHE_S = 60.0
# Data keys that one transaction wraps anew: it stays short, however many tenants there are.
_ROTATED_AT_ONCE = 500


class TenantCodec:
    """A `flow.envelope.Codec` on the tenants' keys of a database; keys are 64 hexadecimal digits.

    Raises:
        EncryptionError: a master key is none.
    """

    def __init__(
        self, open_pool: Callable[[], Awaitable[Pool]], *, master: str, older: Sequence[str] = ()
    ) -> None:
        self._open_pool = open_pool
        self._masters = _Masters(master, older)
        # Key id -> (cipher, when it was read); and the id of each tenant's key.
        self._ciphers: dict[str, tuple[AESGCM, float]] = {}
        self._ids: dict[str, str] = {}

    async def seal(self, data: bytes, tenant: str) -> tuple[str, bytes]:
        """Return (key id, sealed bytes); a tenant's first payload makes its key.

        Raises:
            EncryptionError, DatabaseConnectionError
        """
        key = self._ids.get(tenant)
        cipher = self._take_cached(key) if key is not None else None
        if key is None or cipher is None:
            key, cipher = await self._find_or_make(tenant)
        nonce = os.urandom(_NONCE_BYTES)
        return key, nonce + cipher.encrypt(nonce, data, _about(tenant, key))

    async def open(self, data: bytes, tenant: str, key: str) -> bytes:
        """Return what was sealed.

        Raises:
            EncryptionError: the tenant was erased, the master key is not given, or the bytes were changed.
        """
        cipher = self._take_cached(key) or await self._read(tenant, key)
        try:
            return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _about(tenant, key))
        except (InvalidTag, ValueError) as error:
            raise EncryptionError(
                f"a payload of tenant {tenant!r} can't be opened: it is not what was sealed under key {key}"
            ) from error

    def _take_cached(self, key: str) -> AESGCM | None:
        cipher, read_at = self._ciphers.get(key, (None, 0.0))
        return cipher if time.monotonic() - read_at < CACHE_S else None

    async def _find_or_make(self, tenant: str) -> tuple[str, AESGCM]:
        pool = await self._open_pool()
        async with pool.connection() as conn:
            row = await fetch_row(conn, _SQL["find_tenant_key"], tenant=tenant)
            if row is None:
                await self._make(conn, tenant)
                row = await fetch_row(conn, _SQL["find_tenant_key"], tenant=tenant)
        if row is None:
            raise EncryptionError(f"tenant {tenant!r} was erased while its key was made: try again")
        key = self._ids[tenant] = str(row["id"])
        return key, self._keep(key, self._masters.unwrap(row, tenant))

    async def _make(self, conn: Connection, tenant: str) -> None:
        """Make a tenant's key; of two processes that do one is too late, which is no error."""
        new = uuid.uuid4()
        wrapped = self._masters.wrap(AESGCM.generate_key(256), tenant, str(new))
        values = {"id": new, "tenant": tenant, "wrapped": wrapped, "master": self._masters.current}
        await fetch(conn, _SQL["add_tenant_key"], **values)

    async def _read(self, tenant: str, key: str) -> AESGCM:
        self._ciphers.pop(key, None)
        pool = await self._open_pool()
        async with pool.connection() as conn:
            row = await fetch_row(conn, _SQL["read_tenant_key"], id=uuid.UUID(key), tenant=tenant)
        if row is None:
            raise EncryptionError(f"the key of tenant {tenant!r} was deleted: what it sealed is erased")
        return self._keep(key, self._masters.unwrap(row, tenant))

    def _keep(self, key: str, secret: bytes) -> AESGCM:
        cipher = AESGCM(secret)
        self._ciphers[key] = (cipher, time.monotonic())
        return cipher

    async def rotate(self, *, by: str = "client") -> int:
        """Wrap the data keys of older master keys anew under the current one; return how many.

        Some hundred in one transaction, with an entry of the audit trail that names `by`.
        """
        number = 0
        pool = await self._open_pool()
        async with pool.connection() as conn:
            rows = await fetch(conn, _SQL["list_keys_of_others"], master=self._masters.current)
        for start in range(0, len(rows), _ROTATED_AT_ONCE):
            async with pool.transaction() as conn:
                moved = sum([await self._rewrap(conn, row) for row in rows[start : start + _ROTATED_AT_ONCE]])
                if moved:
                    await audit.write_entry(
                        conn,
                        who=by,
                        action="keys.rotate",
                        kind="master_key",
                        object=self._masters.current,
                        details=payload.encode({"rotated": moved}),
                    )
            number += moved
        return number

    async def _rewrap(self, conn: Connection, row: Record) -> bool:
        secret = self._masters.unwrap(row, row["tenant"])
        moved = await fetch_value(
            conn,
            _SQL["rewrap_tenant_key"],
            id=row["id"],
            old_master=row["master"],
            wrapped=self._masters.wrap(secret, row["tenant"], str(row["id"])),
            master=self._masters.current,
        )
        return moved is not None


class _Masters:
    """The master keys by their fingerprints."""

    def __init__(self, master: str, older: Sequence[str]) -> None:
        keys = [_read_key(one) for one in (master, *older)]
        self._ciphers: Mapping[str, AESGCM] = {_fingerprint(key): AESGCM(key) for key in keys}
        self.current = _fingerprint(keys[0])

    def wrap(self, secret: bytes, tenant: str, key: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[self.current].encrypt(nonce, secret, _about(tenant, key))

    def unwrap(self, row: Record, tenant: str) -> bytes:
        cipher = self._ciphers.get(row["master"])
        if cipher is None:
            raise EncryptionError(
                f"the key of tenant {tenant!r} is wrapped by master key {row['master']}, which is not given: "
                "set the old key as ENCRYPTION_KEY_V<n>"
            )
        wrapped: bytes = row["wrapped"]
        try:
            return cipher.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _about(tenant, str(row["id"]))
            )
        except InvalidTag as error:
            raise EncryptionError(f"the key of tenant {tenant!r} was changed in the database") from error


async def list_tenant_keys(conn: Connection) -> list[Record]:
    """Return (id, tenant, master, created_at) of all data keys."""
    return await fetch(conn, _SQL["list_tenant_keys"])


async def erase_tenant(conn: Connection, tenant: str, *, by: str = "client") -> bool:
    """Delete a tenant's key, which erases all that it sealed; False: it has none. `by` stands in the audit trail."""
    async with conn.transaction():
        if await fetch_value(conn, _SQL["erase_tenant"], tenant=tenant) is None:
            return False
        await audit.write_entry(conn, who=by, action="keys.erase", kind="tenant", object=tenant)
    return True


def _about(tenant: str, key: str) -> bytes:
    """What is sealed belongs to one tenant and one key, and can't be passed off as another's."""
    return f"rkyc payload\0{tenant}\0{key}".encode()


def _read_key(given: str) -> bytes:
    try:
        key = bytes.fromhex(given)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise EncryptionError(
            "ENCRYPTION_KEY is no key: expected 64 hexadecimal digits (openssl rand -hex 32)"
        )
    return key


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"rkyc master" + key).hexdigest()[:16]
