"""Every error that the harness raises: what failed, on which device, and what to do about it.

A verdict follows from the class. `DeviceError` is the only one that speaks about the device under
test; none of the others may ever be read as "the router is wrong". A `UsageError` ends a command
before anything runs; only where a test causes one does it have a verdict.
"""

from __future__ import annotations


class HarnessError(Exception):
    """Base of the family.

    @param what: what failed, one line.
    @param device: the name of the device concerned, if any.
    @param hint: what the reader can do about it, one line.
    @param evidence: text that shows it (the last lines of a console, of stderr).
    """

    verdict = "error: infrastructure"

    def __init__(
        self, what: str, *, device: str | None = None, hint: str = "", evidence: str = ""
    ) -> None:
        self.what = what
        self.device = device
        self.hint = hint
        self.evidence = evidence.strip()
        super().__init__(str(self))

    def __str__(self) -> str:
        line = f"{self.device}: {self.what}" if self.device else self.what
        if self.hint:
            line += f" ({self.hint})"
        return f"{line}\n{self.evidence}" if self.evidence else line


class UsageError(HarnessError):
    """The caller asked for something that does not exist or makes no sense.

    An unknown kind of device, a file that can't be read as what it should be, a wrong argument.
    `hil` ends with exit status 2, pytest with its own status for wrong usage, 4.
    """

    verdict = "error: suite"


class SuiteError(HarnessError):
    """The test itself is wrong: it uses what its device lacks or what it did not ask for."""

    verdict = "error: suite"


class InfrastructureError(HarnessError):
    """QEMU, crossbar, the disk or the host let us down; the device may be fine."""


class MissingToolError(InfrastructureError):
    """A program that the harness needs is not installed."""

    def __init__(self, program: str, package: str) -> None:
        self.program = program
        self.package = package
        super().__init__(f"{program} is not installed", hint=f"apt-get install {package}")


class ImageError(InfrastructureError):
    """A router image could not be built, or what is in the cache is damaged."""


class ResultError(InfrastructureError):
    """A saved result of a run that can't be read."""


class BootError(HarnessError):
    """The machine ran but the router never came up on it."""

    verdict = "error: boot"


class DeviceError(HarnessError):
    """The device under test did not do what it was asked to."""

    verdict = "failed"


class CommandError(DeviceError):
    """A command on the device ended otherwise than was demanded."""
