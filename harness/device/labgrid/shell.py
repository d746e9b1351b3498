"""Two ways into a target of labgrid: over SSH, and over its serial console."""

from __future__ import annotations

import base64
import contextlib
import shlex
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

from labgrid import Target

from harness import environment
from harness.device.base import Completed
from harness.errors import BootError, InfrastructureError

PIECE = 1024
"""Bytes of a file in one line of a serial console, before they are encoded."""


class Shell(Protocol):
    """Where commands are run as the administrator."""

    def connect(self, timeout: float) -> None:
        """Wait until it takes commands. @raise BootError: it does not within `timeout` seconds."""

    def run(self, command: str, timeout: float, stdin: bytes = b"") -> Completed:
        """@raise InfrastructureError: no end within `timeout` seconds, or no connection."""

    def forward(self, port: int) -> None:
        """Have a port of this computer's loopback at the same number of the target's own.

        @raise InfrastructureError: there is no way to.
        """

    def drop(self) -> None:
        """Have no connection any more; a dead target is not waited for."""


class Ssh:
    """Through the connection that labgrid's SSHDriver makes.

    Its own `run` gives lines instead of bytes, and leaves a process behind after a time-out.

    @param key: OpenSSH's private key, if the one of the configuration is not it.
    """

    def __init__(self, device: str, target: Target, driver: Any, folder: Path, key: str) -> None:
        self._device = device
        self._target = target
        self._driver = driver
        self._forwards: dict[int, contextlib.ExitStack] = {}
        if key:
            file = folder / "key"
            file.touch(mode=0o600)
            file.write_text(key)
            driver.keyfile = str(file)

    def connect(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        service = self._driver.networkservice
        proxied = getattr(service, "extra", {}).get("proxy_required") or _forced_proxy()
        why: object = "no answer"
        while time.monotonic() < deadline:
            self._target.update_resources()  # its port may be another now
            # the driver's own tries leave a folder each
            if proxied or _answers(service.address, service.port):
                try:
                    self._target.activate(self._driver)
                    for port in list(self._forwards):
                        self._forward(port)
                    return
                except Exception as error:
                    why = error.__cause__ or error
            time.sleep(0.2)
        where = f"{service.address}:{service.port}"
        raise BootError(
            f"no SSH at {where} within {timeout:g} s: {str(why)[:300]}", device=self._device
        )

    def _words(self) -> list[str]:
        service = self._driver.networkservice
        # without the driver's connection it would make one of its own, and ask on the terminal
        alone = ["-o", "BatchMode=yes", "-o", "ProxyCommand=false"]
        return ["ssh", "-x", *self._driver.ssh_prefix, *alone, "-p", str(service.port)]

    @property
    def _host(self) -> str:
        service = self._driver.networkservice
        user = self._driver.username or service.username
        return f"{user}@{service.address}"

    def run(self, command: str, timeout: float, stdin: bytes = b"") -> Completed:
        if not hasattr(self._driver, "ssh_prefix"):
            raise InfrastructureError("is not connected", device=self._device)
        words = [*self._words(), self._host, "--", command]
        try:
            done = self._ssh(words, timeout, stdin)
        except subprocess.TimeoutExpired as error:
            raise InfrastructureError(
                f"`{command[:200]}`: no end within {timeout:g} s", device=self._device
            ) from error
        if done.returncode == 255 and not self._tell("check"):  # else it is the command's
            raise InfrastructureError(
                f"`{command[:200]}` over SSH: {done.stderr.decode(errors='replace').strip()}",
                device=self._device,
            )
        return Completed(command, done.returncode, done.stdout, done.stderr)

    @staticmethod
    def _ssh(
        words: list[str], timeout: float, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        shared = environment.of(environment.PERSON)
        return subprocess.run(words, input=stdin, capture_output=True, timeout=timeout, env=shared)

    def _tell(self, command: str) -> bool:
        """@return: whether the driver's connection lives, and has done it."""
        words = [*self._words(), "-O", command, self._host]
        try:
            return self._ssh(words, 10).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def forward(self, port: int) -> None:
        if port not in self._forwards:
            self._forwards[port] = contextlib.ExitStack()
            self._forward(port)

    def _forward(self, port: int) -> None:
        try:
            self._forwards[port].enter_context(self._driver.forward_remote_port(port, port))
        except Exception as error:
            raise InfrastructureError(
                f"port {port} can't be forwarded to the target: {error}",
                device=self._device,
                hint="its SSH has to allow it: AllowTcpForwarding",
            ) from error

    def drop(self) -> None:
        if self._driver.state.name != "active":
            return
        # what waits for an answer of the target ends with the connection
        self._tell("exit")
        for port, held in self._forwards.items():
            self._forwards[port] = contextlib.ExitStack()
            with contextlib.suppress(Exception):
                held.close()
        with contextlib.suppress(Exception):
            self._target.deactivate(self._driver)


def _answers(address: str, port: int) -> bool:
    """Whether an SSH server says who it is (RFC 4253, 4.2)."""
    try:
        with socket.create_connection((address, port), 3) as link:
            link.settimeout(3)
            return link.recv(4) == b"SSH-"
    except OSError:
        return False


def _forced_proxy() -> bool:
    from labgrid.util.proxy import ProxyManager

    return ProxyManager._force_proxy is not None


class Serial:
    """Through labgrid's ShellDriver, or another of its CommandProtocol: they give lines of text."""

    def __init__(self, device: str, target: Target, driver: Any) -> None:
        self._device = device
        self._target = target
        self._driver = driver

    def connect(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._target.activate(self._driver)
                return
            except Exception as error:
                if time.monotonic() > deadline:
                    raise BootError(
                        f"no shell on the console within {timeout:g} s: {str(error)[:300]}",
                        device=self._device,
                    ) from error

    def run(self, command: str, timeout: float, stdin: bytes = b"") -> Completed:
        if stdin:
            return self._fed(command, timeout, stdin)
        return self._run(command, timeout)

    def _run(self, command: str, timeout: float) -> Completed:
        # what is printed on a console between two lines would be taken for the command's own
        asked = (
            "o=$(mktemp) && e=$(mktemp) || exit 125; "
            f"sh -c {shlex.quote(command)} >$o 2>$e </dev/null; s=$?; "
            "base64 <$o; echo -; base64 <$e; rm -f $o $e; exit $s"
        )
        try:
            lines, _, status = self._driver.run(asked, timeout=timeout)
        except Exception as error:
            raise InfrastructureError(
                f"`{command[:200]}` on the console: no end within {timeout:g} s",
                device=self._device,
            ) from error
        try:
            output, errors = ("".join(part.split()) for part in "\n".join(lines).split("-"))
            decoded = [base64.b64decode(part, validate=True) for part in (output, errors)]
        except ValueError as error:
            raise InfrastructureError(
                f"`{command[:200]}` on the console: its output is garbled",
                device=self._device,
                evidence="\n".join(lines),
                hint="it needs base64 and mktemp, and a console on which nothing else is printed",
            ) from error
        return Completed(command, status, decoded[0], decoded[1])

    def _fed(self, command: str, timeout: float, stdin: bytes) -> Completed:
        """A line of a console is short: what the command reads is brought there in pieces."""
        file = self._run("umask 077; mktemp", timeout).text.strip()
        try:
            for start in range(0, len(stdin), PIECE):
                piece = base64.b64encode(stdin[start : start + PIECE]).decode()
                self._run(f"echo {piece} | base64 -d >> {file}", timeout)
            return self._run(f"{{ {command}; }} < {file}", timeout)
        finally:
            self._run(f"rm -f {file}", timeout)

    def forward(self, port: int) -> None:
        raise InfrastructureError(
            "there is no way from the target to the node on this computer",
            device=self._device,
            hint="give the target an SSHDriver",
        )

    def drop(self) -> None:
        with contextlib.suppress(Exception):
            self._target.deactivate(self._driver)
