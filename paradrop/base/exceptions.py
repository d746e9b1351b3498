"""Everything that the library raises on purpose: one family, with a branch for each counterpart."""


class ParadropException(Exception):
    """The router cannot do what was asked of it."""


class PdServerException(Exception):
    """The Paradrop server refused, or is not known well enough to be asked."""


class InternalException(Exception):
    """A fault of the program itself, not of its user or its surroundings."""


InteralException = InternalException
"""The documented spelling; existing callers import it."""


class AuthenticationError(PdServerException):
    """The server does not believe that we are who we say."""


class InvalidCredentials(PdServerException):
    """The user name, password or token is wrong."""


class PdidError(PdServerException):
    """The pdid is malformed or unknown to the server."""


class PdidExclusionError(PdServerException):
    """Another session already holds this pdid."""


class ModelNotFound(PdServerException):
    """The server has no such object."""


class ChuteNotFound(ParadropException):
    """No chute of that name is installed."""


class ChuteNotRunning(ParadropException):
    """The chute is installed but does not run."""


class DeviceNotFoundException(ParadropException):
    """The router has no such network or storage device."""


class ServiceNotFound(ParadropException):
    """A chute has no service of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"Service ({self.name}) not found"


class SettingsError(ParadropException):
    """A setting, a settings file or a mode cannot be used; the message names it and its remedy."""


class CertificateError(ParadropException):
    """The WAMP router's certificate is not one that we trust, or not for its name."""


class ClockError(CertificateError):
    """The certificate is refused because this machine's clock is wrong: setting it is the cure."""


class OwnCertificateError(CertificateError):
    """The WAMP router does not accept the certificate that we show, or wants one."""


class CallTimeout(ParadropException):
    """A remote procedure did not answer in time; whether it ran is not known."""
