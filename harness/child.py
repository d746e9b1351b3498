"""Children that never outlive us: a process group each, tied to the life of this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from harness.errors import InfrastructureError, MissingToolError

READ_WITHIN = 1.0  # seconds; what a program that has ended has printed waits in a pipe
END_WITHIN = 5.0  # seconds from SIGKILL to the end; only one stuck in the kernel takes longer


class Child:
    """A program in a session of its own, its output in a file.

    The kernel kills it when the thread that started it ends (`PR_SET_PDEATHSIG`, prctl(2)), so
    start it from a thread that lives as long as the run: the main one.

    @param package: the Debian package that has the program, for the error when it is missing.
    @param log: file that receives its standard output and standard error.
    @param umask: that of the program; default: ours.
    @param printed: called with each line of that, in a thread of its own.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path,
        *,
        package: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        umask: int = -1,
        printed: Callable[[str], None] | None = None,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.log = log
        program = self.argv[0]
        for needed, package_of in ((program, package or program), ("setpriv", "util-linux")):
            if shutil.which(needed) is None:
                raise MissingToolError(needed, package_of)
        try:
            with log.open("ab") as output:
                self._popen = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "--", *self.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output if printed is None else subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=env,
                    umask=umask,
                    start_new_session=True,
                )
        except OSError as error:
            raise InfrastructureError(f"{program} can't be started: {error}") from error
        self._reader: threading.Thread | None = None
        if printed is not None:
            self._reader = threading.Thread(
                target=self._read, args=(self._popen.stdout, printed), daemon=True
            )
            self._reader.start()
        self._gone = False
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
        """Send a signal to the program and everything in its process group.

        After L{kill} or L{terminate} it does nothing: the kernel may use the number again.
        """
        if not self._gone:
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
        @raise InfrastructureError: the kernel does not let go of it.
        """
        self.send(signal.SIGKILL)
        status = self.wait(END_WITHIN)
        deadline = time.monotonic() + END_WITHIN
        while not self._gone and _executes(self.pid):
            if time.monotonic() > deadline:
                raise InfrastructureError(f"the group of {self.program} (pid {self.pid}) lives on")
            time.sleep(0.005)
            self.send(signal.SIGKILL)  # one that was being forked may have missed the first
        self._gone = True
        self._read_all()
        return status

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output."""
        if not self.running:
            self._read_all()
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _read(self, output: IO[bytes], printed: Callable[[str], None]) -> None:
        with output, self.log.open("ab", buffering=0) as log:
            for line in output:
                with contextlib.suppress(OSError):  # a full disk: it must not wait for its reader
                    log.write(line)
                with contextlib.suppress(OSError):
                    printed(line.decode(errors="replace").rstrip("\n"))

    def _read_all(self) -> None:
        """Wait until what it has printed is read; another of its group may still hold the pipe."""
        if self._reader is not None:
            self._reader.join(READ_WITHIN)


def _executes(group: int) -> bool:
    """Whether a process of the group is more than a zombie: those wait for another's parent."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            # proc(5): after the name in parentheses come the state, the parent, the group
            state, _, its_group = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False
