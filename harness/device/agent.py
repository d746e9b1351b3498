"""Commands and files on an emulated router, out of band: no network, and no handshake, is needed.

The other end is `harness/image/guest/root/usr/libexec/paradrop/agent`, which says what is spoken.
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.device.base import Completed
from harness.errors import CommandError, HarnessError, InfrastructureError

MARK = b"\xff\xfepdagent"
ANSWER_SECONDS = 30
"""How long a busy router may take to begin, or to end, a request, beside what that takes."""


class Agent:
    """One connection to the virtio port of a machine, made when it is first needed and again when
    an answer did not come.

    @param device: name for errors.
    @param path: of the Unix socket of the port.
    @param check: called now and then while an answer is waited for; what it raises ends that.
    @param autopsy: called when there is no answer, with whether the machine has rebooted meanwhile;
        it raises what it knows better.
    """

    def __init__(
        self,
        device: str,
        path: Path,
        check: Callable[[], None],
        autopsy: Callable[[bool], None],
    ) -> None:
        self._device = device
        self._path = path
        self._check = check
        self._autopsy = autopsy
        self._stale = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def run(self, command: str, timeout: float, stdin: bytes = b"") -> Completed:
        """Run a shell command as root.

        @return: with the status -N if signal N ended the command.
        @raise InfrastructureError: no connection, or no end of it within `timeout` seconds.
        """
        fields = (command.encode(), b"%f" % timeout, stdin)
        what = f"`{command[:200]}` over mgmt"
        status, stdout, stderr = self._ask(what, b"run", *fields, timeout=timeout)
        if status == b"late":
            raise InfrastructureError(f"{what}: no end within {timeout:g} s", device=self._device)
        return Completed(command, int(status), stdout, stderr)

    def read(self, path: str) -> bytes:
        """@raise CommandError: it can't be read."""
        (data,) = self._ask(f"can't read {path}", b"read", path.encode())
        return data

    def write(self, *files: tuple[str, int, int, bytes]) -> None:
        """Replace files.

        @param files: of each its path, mode, owner and group as one number, and its content.
        @raise CommandError: one can't be written.
        """
        fields: list[bytes] = []
        for path, mode, owner, data in files:
            fields += [path.encode(), b"%o" % mode, b"%d:%d" % (owner, owner), data]
        self._ask(f"can't write {', '.join(file[0] for file in files)}", b"write", *fields)

    def sync(self) -> None:
        """Have all that was written on the disk."""
        self._ask("sync", b"sync")

    def become(self, hostname: str, addresses: Sequence[bytes]) -> None:
        """Make a copy of a machine one of its own: its clock is set to now, and its kernel's
        random numbers are no longer those of the other copies.

        @param addresses: of its network cards (6 bytes each), in their order.
        """
        seed = secrets.token_bytes(64)
        name = hostname.encode()
        self._ask("become", b"become", b"%.6f" % time.time(), seed, name, *addresses)

    def _ask(self, what: str, *fields: bytes, timeout: float = 0) -> list[bytes]:
        """@raise InfrastructureError: no answer. @raise CommandError: the answer is an error.
        @raise DeviceError: the device is why there is no answer.
        """
        name = secrets.token_bytes(8)
        parts = [struct.pack(">I", len(field)) + field for field in fields]
        request = MARK + name + struct.pack(">I", len(fields)) + b"".join(parts)
        with self._lock:
            try:
                link = self._connected()
                link.settimeout(timeout + ANSWER_SECONDS)
                link.sendall(request)
                verdict, *answer = self._answer(link, name, timeout + ANSWER_SECONDS)
            except HarnessError:
                self.close()
                raise
            except OSError as error:
                self.close()
                self._autopsy(self._stale)
                late = isinstance(error, TimeoutError)
                why = f"no answer within {timeout + ANSWER_SECONDS:g} s" if late else str(error)
                raise InfrastructureError(f"{what}: {why}", device=self._device) from error
        if verdict != b"ok":
            text = answer[0].decode(errors="replace")
            raise CommandError(what, device=self._device, evidence=text)
        return answer

    def _answer(self, link: socket.socket, name: bytes, timeout: float) -> list[bytes]:
        self._wait(link, timeout)
        wanted = MARK + name
        mark = _exactly(link, len(wanted))
        while mark != wanted:  # the rest of one that was given up
            mark = mark[1:] + _exactly(link, 1)
        return [_exactly(link, _number(link)) for _ in range(_number(link))]

    def _wait(self, link: socket.socket, timeout: float) -> None:
        """Wait until an answer begins. @raise TimeoutError: it does not."""
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(link, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(min(left, 1) * 1000):
                return
            self._check()
        raise TimeoutError

    def _connected(self) -> socket.socket:
        if self._stale:
            self._stale = False
            self.close()
        if self._socket is None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                link.connect(str(self._path))
            except OSError:
                link.close()
                raise
            self._socket = link
        return self._socket

    def hang_up(self) -> None:
        """The machine reboots: a request that waits for its answer is given up, and the next one
        makes a new connection. May be called from any thread."""
        self._stale = True
        if (link := self._socket) is not None:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


def _number(link: socket.socket) -> int:
    number: int = struct.unpack(">I", _exactly(link, 4))[0]
    return number


def _exactly(link: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = link.recv(min(count, 1 << 20))
        if not part:
            raise ConnectionError("the machine has closed its port")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
