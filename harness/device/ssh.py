"""Commands and files over SSH, with the host key pinned and a key made for this one device."""

from __future__ import annotations

import base64
import contextlib
import io
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.device.base import Completed
from harness.errors import InfrastructureError


@dataclass(frozen=True)
class ClientKey:
    """An Ed25519 key pair in OpenSSH's formats."""

    private: bytes
    public: str

    @classmethod
    def generate(cls) -> ClientKey:
        key = Ed25519PrivateKey.generate()
        return cls(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            ),
            key.public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            .decode(),
        )


def write_config(folder: Path, port: int, key: ClientKey, host_key: str) -> Path:
    """Write all that OpenSSH needs to get into a device: a key, the pinned host key, a host.

    @param port: on 127.0.0.1.
    @return: the file for `ssh -F`, whose host is `router` (ssh_config(5)).
    """
    identity, known, config = folder / "ssh_key", folder / "known_hosts", folder / "ssh_config"
    host = f"[127.0.0.1]:{port} {host_key}\n".encode()
    for path, data in ((identity, key.private), (known, host)):
        path.touch(mode=0o600)
        path.write_bytes(data)
    config.write_text(
        f"Host router\n  HostName 127.0.0.1\n  Port {port}\n  User root\n"
        f"  IdentityFile {identity}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
        "  StrictHostKeyChecking yes\n"
    )
    return config


class Ssh:
    """One connection as root, made when it is first needed and again when it broke.

    @param device: name for errors.
    @param port: on 127.0.0.1.
    @param host_key: the only key that the device may show, a line of OpenSSH's public format.
    """

    def __init__(self, device: str, port: int, key: ClientKey, host_key: str) -> None:
        self._device = device
        self.port = port
        self._key = paramiko.Ed25519Key.from_private_key(io.StringIO(key.private.decode()))
        kind, encoded = host_key.split()[:2]
        self._host_key = paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
        self._transport: paramiko.Transport | None = None
        self._lock = threading.Lock()

    def _connected(self, timeout: float) -> paramiko.Transport:
        with self._lock:
            if self._transport is not None and self._transport.is_active():
                return self._transport
            link = socket.create_connection(("127.0.0.1", self.port), timeout)
            transport = paramiko.Transport(link)
            transport.banner_timeout = timeout
            transport.auth_timeout = timeout
            try:
                transport.connect(hostkey=self._host_key, username="root", pkey=self._key)
            except BaseException:
                transport.close()
                raise
            self._transport = transport
            return transport

    def run(self, command: str, timeout: float, stdin: bytes = b"") -> Completed:
        """Run a shell command.

        @return: with the status -1 if a signal ended the command.
        @raise InfrastructureError: no connection, or no end of it within `timeout` seconds.
        """
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.close()  # ends whatever is being waited for below

        timer = threading.Timer(timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            channel = self._connected(timeout).open_session(timeout=timeout)
            with ThreadPoolExecutor(3) as streams, contextlib.closing(channel):
                channel.exec_command(command)
                # all three streams move at once, or a full window of one would block the others
                streams.submit(self._feed, channel, stdin)
                output = streams.submit(channel.makefile("rb").read)
                errors = streams.submit(channel.makefile_stderr("rb").read)
                status = channel.recv_exit_status()
                done = Completed(command, status, output.result(), errors.result())
                # of a command that a signal ended there is no status, but its streams have ended
                if late.is_set() or not channel.eof_received:
                    raise EOFError("the connection broke")
                return done
        except (OSError, EOFError, paramiko.SSHException) as error:
            self.close()
            timed_out = late.is_set() or isinstance(error, TimeoutError)
            why = f"no end within {timeout:g} s" if timed_out else str(error)
            raise InfrastructureError(
                f"`{command[:200]}` over mgmt: {why or 'the connection broke'}", device=self._device
            ) from error
        finally:
            timer.cancel()

    @staticmethod
    def _feed(channel: paramiko.Channel, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the command may end without reading it
            channel.sendall(data)
            channel.shutdown_write()

    def close(self) -> None:
        """Drop the connection; the next command makes a new one."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = None
