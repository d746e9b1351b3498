"""Who may join: one sqlite file, shared by the harness and the components inside crossbar.

Both sides write it (the harness enrols, the batch server too), so it is right whether crossbar is
up, down or was just killed. Of a secret only what WAMP-CRA needs to check it is kept: the key
derived by PBKDF2, its salt and the two parameters (WAMP advanced profile, "Salted passwords").
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autobahn.wamp.auth import derive_key

from harness.errors import UsageError

DEVICE = "device"
PROVISIONER = "provisioner"
OPERATOR = "operator"

ITERATIONS = 1000  # autobahn's default; our secrets are 256 random bits, so more buys nothing
KEYLEN = 32  # bytes

_AUTHID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS principal (
    authid TEXT PRIMARY KEY, role TEXT NOT NULL,
    key TEXT NOT NULL, salt TEXT NOT NULL, iterations INTEGER NOT NULL, keylen INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS batch (
    id TEXT PRIMARY KEY, router TEXT NOT NULL, remaining INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS provisioned (
    batch TEXT NOT NULL, nonce TEXT NOT NULL, pdid TEXT NOT NULL, PRIMARY KEY (batch, nonce)
);
"""


class UnknownBatchError(LookupError):
    """There is no batch with that id."""


class BatchExhaustedError(LookupError):
    """Every identity of the batch has been given away."""


@dataclass(frozen=True)
class Principal:
    """Somebody who may join, and what checks their secret.

    @ivar key: PBKDF2 of the secret, in base64, as WAMP-CRA signs with it.
    """

    authid: str
    role: str
    key: str
    salt: str
    iterations: int
    keylen: int


@dataclass(frozen=True)
class Provisioned:
    """What a device is told when it provisions itself: who it is, where to join, its secret."""

    pdid: str
    router: str
    token: str


class Registry:
    """The enrolled devices, the batches and the operator.

    @param path: the sqlite file; made, readable by its owner alone, when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._connect() as database:
            database.executescript(_SCHEMA)

    def enroll(self, authid: str, role: str) -> str:
        """Let somebody join. Whoever had that authid before is forgotten, the old secret with it.

        @return: the secret, which is kept nowhere.
        @raise UsageError: the authid is malformed, or taken by another role.
        """
        with self._connect() as database:
            return _enroll(database, authid, role)

    def revoke(self, authid: str) -> bool:
        """@return: whether there was such a principal."""
        with self._connect() as database:
            database.execute("DELETE FROM provisioned WHERE pdid = ?", (authid,))
            return bool(
                database.execute("DELETE FROM principal WHERE authid = ?", (authid,)).rowcount
            )

    def find(self, authid: str) -> Principal | None:
        with self._connect() as database:
            row = database.execute(
                "SELECT authid, role, key, salt, iterations, keylen FROM principal"
                " WHERE authid = ?",
                (authid,),
            ).fetchone()
        return Principal(*row) if row else None

    def add_batch(self, batch: str, router: str, size: int) -> str:
        """A batch of devices that may provision themselves.

        @param router: URL of the router that its devices are told to join.
        @param size: how many identities it may give away.
        @return: its key.
        """
        with self._connect() as database:
            key = _enroll(database, batch, PROVISIONER)
            database.execute("INSERT INTO batch VALUES (?, ?, ?)", (batch, router, size))
        return key

    def provision(self, batch: str, nonce: str | None = None) -> Provisioned:
        """Give away an identity of a batch.

        @param nonce: names the device that asks; asking again with it gives the same pdid with a
            new token and costs the batch nothing, so an answer that was lost can be asked again.
        @raise UnknownBatchError: there is no such batch.
        @raise BatchExhaustedError: the batch has none left.
        """
        with self._connect() as database:
            row = database.execute(
                "SELECT router, remaining FROM batch WHERE id = ?", (batch,)
            ).fetchone()
            if row is None:
                raise UnknownBatchError(batch)
            router, remaining = row
            before = database.execute(
                "SELECT pdid FROM provisioned WHERE batch = ? AND nonce = ?", (batch, nonce)
            ).fetchone()
            if before is not None:
                pdid = before[0]
            elif remaining <= 0:
                raise BatchExhaustedError(batch)
            else:
                pdid = f"pd-{secrets.token_hex(8)}"
                database.execute(
                    "UPDATE batch SET remaining = remaining - 1 WHERE id = ?", (batch,)
                )
                if nonce is not None:
                    database.execute(
                        "INSERT INTO provisioned VALUES (?, ?, ?)", (batch, nonce, pdid)
                    )
            return Provisioned(pdid, router, _enroll(database, pdid, DEVICE))

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """One transaction, rolled back if the block raises."""
        database = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = OFF")  # survives kill -9; power is not our worry
            database.execute("BEGIN IMMEDIATE")
            yield database
            if database.in_transaction:
                database.execute("COMMIT")
        finally:
            database.close()


def _enroll(database: sqlite3.Connection, authid: str, role: str) -> str:
    if not _AUTHID.fullmatch(authid):
        raise UsageError(f"{authid!r} can't be enrolled", hint=f"an id matches {_AUTHID.pattern}")
    row = database.execute("SELECT role FROM principal WHERE authid = ?", (authid,)).fetchone()
    if row is not None and row[0] != role:
        raise UsageError(
            f"{authid} can't be enrolled as {role}: it is the {row[0]}", hint="choose another id"
        )
    secret, salt = secrets.token_urlsafe(32), secrets.token_hex(16)
    key = derive_key(secret, salt, ITERATIONS, KEYLEN).decode("ascii")
    database.execute(
        "INSERT OR REPLACE INTO principal VALUES (?, ?, ?, ?, ?, ?)",
        (authid, role, key, salt, ITERATIONS, KEYLEN),
    )
    return secret
