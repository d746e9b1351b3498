"""Children that never outlive us: a process group each, tied to the life of this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import InfrastructureError, MissingToolError


class Child:
    """A program in a session of its own, its output in a file.

    The kernel kills it when the thread that started it ends (`PR_SET_PDEATHSIG`, prctl(2)), so
    start it from a thread that lives as long as the run: the main one.

    @param package: the Debian package that has the program, for the error when it is missing.
    @param log: file that receives its standard output and standard error.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        *,
        package: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        program = self.argv[0]
        for needed, package_of in ((program, package or program), ("setpriv", "util-linux")):
            if shutil.which(needed) is None:
                raise MissingToolError(needed, package_of)
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self.program = program

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        return self.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program and everything it started in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, timeout: float) -> int:
        """@raise InfrastructureError: it still runs after `timeout` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise InfrastructureError(
                f"{self.program} (pid {self.pid}) still runs after {timeout:g} s",
                evidence=self.tail(),
            ) from error

    def terminate(self, grace: float = 10.0) -> int:
        """Ask it to end, insist after `grace` seconds; nothing of its group is left.

        @return: its exit status.
        """
        if self.running:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace)
        return self.kill()

    def kill(self) -> int:
        """End the whole process group at once.

        @return: the exit status of the program.
        """
        deadline = time.monotonic() + 5
        self.send(signal.SIGKILL)
        status = self._popen.wait(5)
        while time.monotonic() < deadline:  # the rest of the group is reaped by its new parent
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                break
            time.sleep(0.01)
        return status

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])
