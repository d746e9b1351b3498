"""Self-provisioning: a batch key in `provision.yaml` buys this router an identity of its own."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from paradrop.base import address, identity, settings, yamlfile
from paradrop.base.address import AddressError
from paradrop.base.cxbr import BaseSession
from paradrop.base.exceptions import ParadropException
from paradrop.base.output import out
from paradrop.daemon.session import sign

FILE_NAME = "provision.yaml"
PROCEDURE = "org.paradrop.provision"
NONCE_KEY = "provision.nonce"


@dataclass(frozen=True)
class Batch:
    """Where to ask for an identity, as which batch."""

    server: str
    id: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Identity:
    """What a router is given."""

    pdid: str
    router: str
    token: str = field(repr=False)


def read_batch() -> Batch | None:
    """
    @return: what `provision.yaml` in the configuration home says; None when there is no such file.
    @raise ParadropException: it lacks something, or cannot be read.
    """
    path = Path(settings.CONFIG_HOME_DIR) / FILE_NAME
    try:
        found = yamlfile.load_texts(path.read_bytes(), ("server", "batch", "key"))
        out.conceal(found["key"])
        for secret in address.secrets(address.check(found["server"])):
            out.conceal(secret)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AddressError) as error:
        raise ParadropException(f"{path} cannot be used: {error}") from error
    return Batch(found["server"], found["batch"], found["key"])


def nonce() -> str:
    """The same for every attempt, so that an answer that got lost does not cost an identity."""
    kept = identity.read_key(NONCE_KEY)
    if not (isinstance(kept, str) and kept):
        kept = secrets.token_hex(16)
        identity.write_key(kept, NONCE_KEY)
    out.conceal(kept)
    return kept


def request(batch: Batch) -> Deferred[Identity]:
    """
    Ask the server of the batch for an identity, until it gives one.

    @return: fires with it; cancelled, it gives up.
    """

    @inlineCallbacks
    def finish(session: ProvisioningSession) -> Generator[Deferred[Any], Any, Identity]:
        yield session.leave()
        assert session.identity is not None
        return session.identity

    asking: Deferred[Any] = ProvisioningSession.start(batch.server, batch.id, extra=batch)
    return asking.addCallback(finish)


class ProvisioningSession(BaseSession):
    """Joins as the batch. A join without an answer is one that failed, and is tried again."""

    identity: Identity | None = None

    def onConnect(self) -> None:
        self.join(self.config.realm, ["wampcra"], self.pdid)

    def onChallenge(self, challenge: Any) -> str:
        return sign(challenge, self.extra.key)

    @inlineCallbacks
    def onJoin(self, details: Any) -> Generator[Deferred[Any], Any, None]:
        # Not the base class's: this is not the session of the nexus.
        answer = yield self.stockCall(PROCEDURE, {"batch": self.pdid, "nonce": nonce()})
        self.identity = check(answer)


def check(answer: Any) -> Identity:
    """@raise ParadropException: it is no identity."""
    found = answer if isinstance(answer, dict) else {}
    pdid, router, token = (found.get(name) for name in ("pdid", "router", "token"))
    if not (isinstance(pdid, str) and identity.PDID.fullmatch(pdid)):
        raise ParadropException("the server's answer has no usable pdid")
    try:
        usable = address.check(router)
    except AddressError as error:
        raise ParadropException(f"the server's answer has no usable router: {error}") from error
    if not (isinstance(token, str) and identity.is_token(token)):
        raise ParadropException("the server's answer has no usable token")
    out.conceal(token)
    return Identity(pdid, usable, token)
