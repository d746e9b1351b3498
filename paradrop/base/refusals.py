"""Whether trying again can cure what went wrong with a connection."""

from __future__ import annotations

from paradrop.base.exceptions import CertificateError, ClockError, OwnCertificateError

REFUSALS = frozenset(
    {
        "not_authorized",
        "authentication_failed",
        "authentication_denied",
        "authentication_required",
        "no_auth_method",
        "no_matching_auth_method",
        "no_such_principal",
        "no_such_role",
        "no_such_realm",
    }
)
"""Last words of the URIs with which a router aborts a join because of who we (do not) prove to be,
or of what we want to join (WAMP specification, "Abort and Goodbye reasons"; authenticators name
their own)."""


class Refusals:
    """
    Counts refusals of one kind in a row, over the attempts of one connection.

    @ivar kind: of the last one: a WAMP URI, `certificate`, or `own certificate`; "" for none.
    @ivar count: how many of that kind there were in a row.
    """

    def __init__(self) -> None:
        self.kind = ""
        self.count = 0
        self._aborted = ""

    def aborted(self, uri: str) -> None:
        """The router has ended the attempt that is under way, with a WAMP ABORT."""
        if uri.rpartition(".")[2] in REFUSALS:
            self._aborted = uri

    def attempt_ended(self, reason: BaseException | None, reached: bool) -> bool:
        """
        @param reached: whether the router could be connected to at all; where it could not, the
            attempt says nothing about us.
        @return: whether it was a refusal.
        """
        kind, self._aborted = self._aborted, ""
        if isinstance(reason, OwnCertificateError):
            kind = "own certificate"
        elif isinstance(reason, CertificateError) and not isinstance(reason, ClockError):
            kind = "certificate"
        if kind:
            self.count = self.count + 1 if kind == self.kind else 1
            self.kind = kind
        elif reached:
            self.clear()
        return bool(kind)

    def clear(self) -> None:
        """The router has let us join, or has had another reason."""
        self.kind, self.count = "", 0
