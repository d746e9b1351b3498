"""What runs inside crossbar's router worker: who may join, who may do what, the batch server.

Crossbar imports this module into its worker; the harness itself never does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CallDetails, ComponentConfig, RegisterOptions
from crossbar.router.auth import AUTHMETHOD_MAP, PendingAuthWampCra

from harness.node.registry import BatchExhaustedError, Registry, UnknownBatchError
from harness.node.uris import AUTHORIZE, PROVISION, RESERVED

Authenticator = Callable[[str, str, dict[str, Any]], dict[str, Any]]


class StoredKeyWampCra(PendingAuthWampCra):
    """WAMP-CRA that checks against a stored derived key.

    Crossbar derives the key from the plain secret at every challenge (since its pull request
    2121), so it would have us keep the secret. Here the key is what is kept, as in the WAMP
    specification; the client gets the salt and derives the same key.
    """

    def _compute_challenge(self, user: dict[str, Any]) -> tuple[dict[str, Any], str]:
        extra, signature = super()._compute_challenge(  # type: ignore[no-untyped-call]
            {"secret": user["secret"]}
        )
        return extra | {name: user[name] for name in ("salt", "iterations", "keylen")}, signature


AUTHMETHOD_MAP["wampcra"] = StoredKeyWampCra


def authenticator(config: dict[str, str], controller: object) -> Authenticator:
    """The function that crossbar asks at every HELLO.

    @param config: has the path of the `registry`.
    """
    registry = Registry(Path(config["registry"]))

    def authenticate(realm: str, authid: str, details: dict[str, Any]) -> dict[str, Any]:
        found = registry.find(authid) if authid else None
        if found is None:
            raise ApplicationError(ApplicationError.NOT_AUTHORIZED, "no such principal")
        return {
            "role": found.role,
            "secret": found.key,
            "salt": found.salt,
            "iterations": found.iterations,
            "keylen": found.keylen,
        }

    return authenticate


class Gatekeeper(ApplicationSession):
    """The dynamic authorizer of devices, and the batch server.

    @param config: `extra` has the path of the `registry`.
    """

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self._registry = Registry(Path(config.extra["registry"]))

    async def onJoin(self, details: object) -> None:
        await self.register(self.authorize, AUTHORIZE)
        await self.register(self.provision, PROVISION, RegisterOptions(details_arg="details"))

    def authorize(
        self, session: dict[str, Any], uri: str, action: str, options: dict[str, Any]
    ) -> dict[str, bool]:
        """A device may use the URIs that end in its own pdid, and no patterns of them.

        Never cached: crossbar's cache knows the role but not who of it asked.
        """
        own = uri.endswith(f".{session['authid']}") and uri not in RESERVED
        exact = options.get("match", "exact") == "exact"
        return {"allow": own and exact, "disclose": True, "cache": False}

    def provision(self, request: dict[str, Any], details: CallDetails) -> dict[str, str]:
        """An identity of the caller's batch; see `Registry.provision`."""
        batch = details.caller_authid
        if batch is None or not isinstance(request, dict) or request.get("batch") != batch:
            raise ApplicationError("org.paradrop.error.wrong_batch", f"you are batch {batch}")
        nonce = request.get("nonce")
        if nonce is not None and not isinstance(nonce, str):
            raise ApplicationError("org.paradrop.error.invalid_nonce", "a nonce is text or null")
        try:
            given = self._registry.provision(batch, nonce)
        except UnknownBatchError as error:
            raise ApplicationError(
                "org.paradrop.error.no_such_batch", f"{batch} is no batch"
            ) from error
        except BatchExhaustedError as error:
            raise ApplicationError(
                "org.paradrop.error.batch_exhausted", f"batch {batch} has no identity left"
            ) from error
        return {"pdid": given.pdid, "router": given.router, "token": given.token}
