"""Commands over SSH, against a real server that runs them on this machine."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import paramiko
import pytest

from harness.device.ssh import ClientKey, Ssh
from harness.errors import InfrastructureError

LIMIT = 20.0
WINDOW = 3 << 20
"""Bytes; more than an SSH channel lets through unread (paramiko's default is 2 MiB)."""


class Server(paramiko.ServerInterface):
    """Accepts one key, and runs each command in a shell."""

    def __init__(self, key: ClientKey) -> None:
        self._public = key.public.split()[1]
        self.host = ClientKey.generate()
        self.connections: list[paramiko.Transport] = []
        self.commands: list[subprocess.Popen[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                transport = paramiko.Transport(link)
                transport.add_server_key(_private(self.host))
                self.connections.append(transport)
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=self)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        right = username == "root" and key.get_base64() == self._public
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        pipe = subprocess.PIPE
        shell = subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe)
        self.commands.append(shell)
        threading.Thread(target=self._carry, args=(channel, shell), daemon=True).start()
        return True

    def _carry(self, channel: paramiko.Channel, shell: subprocess.Popen[bytes]) -> None:
        assert shell.stdin
        assert shell.stdout
        assert shell.stderr
        out, err = shell.stdout.fileno(), shell.stderr.fileno()

        def feed(end: IO[bytes] = shell.stdin) -> None:
            with contextlib.suppress(OSError), end:
                while data := channel.recv(32768):
                    end.write(data)

        def drain(source: int, send: object) -> None:
            with contextlib.suppress(OSError):
                while data := os.read(source, 32768):
                    send(data)  # type: ignore[operator]

        pumps = [
            threading.Thread(target=drain, args=(out, channel.sendall), daemon=True),
            threading.Thread(target=drain, args=(err, channel.sendall_stderr), daemon=True),
        ]
        threading.Thread(target=feed, daemon=True).start()
        for pump in pumps:
            pump.start()
        status = shell.wait()
        for pump in pumps:
            pump.join()
        with contextlib.suppress(OSError, EOFError):
            if status >= 0:  # else a signal ended it, and servers send no status
                channel.send_exit_status(status)
            channel.shutdown_write()
            channel.close()

    def drop(self) -> None:
        """End all connections."""
        while self.connections:
            self.connections.pop().close()

    def close(self) -> None:
        self._listener.close()
        self.drop()
        for shell in self.commands:
            shell.kill()
            shell.wait()
            for pipe in (shell.stdout, shell.stderr):
                pipe.close()  # type: ignore[union-attr]


def _private(key: ClientKey) -> paramiko.Ed25519Key:

    return paramiko.Ed25519Key.from_private_key(io.StringIO(key.private.decode()))


KEY = ClientKey.generate()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(KEY)
    yield server
    server.close()


@pytest.fixture
def ssh(server: Server) -> Iterator[Ssh]:
    ssh = Ssh("router", server.port, KEY, server.host.public)
    yield ssh
    ssh.close()


def test_output_errors_and_status_are_told_apart(ssh: Ssh) -> None:
    done = ssh.run("echo out; echo err >&2; exit 3", LIMIT)
    assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    assert done.text == "out\n"


def test_input_arrives(ssh: Ssh) -> None:
    assert ssh.run("wc -c", LIMIT, b"x" * WINDOW).text.strip() == str(WINDOW)


def test_both_outputs_larger_than_a_window(ssh: Ssh) -> None:
    done = ssh.run(f"head -c {WINDOW} /dev/zero >&2; head -c {WINDOW} /dev/zero; exit 4", LIMIT)
    assert (done.status, len(done.stdout), len(done.stderr)) == (4, WINDOW, WINDOW)


def test_input_and_output_larger_than_a_window(ssh: Ssh) -> None:
    assert len(ssh.run("cat", LIMIT, b"x" * WINDOW).stdout) == WINDOW


def test_input_that_nobody_reads(ssh: Ssh) -> None:
    assert ssh.run("exit 5", LIMIT, b"x" * WINDOW).status == 5


def test_one_connection_serves_many_commands(ssh: Ssh, server: Server) -> None:
    assert [ssh.run(f"exit {number}", LIMIT).status for number in range(3)] == [0, 1, 2]
    assert len(server.connections) == 1


def test_a_command_that_a_signal_ended_is_not_a_broken_connection(ssh: Ssh) -> None:
    assert ssh.run("echo last words; kill -9 $$", LIMIT).status == -1
    assert ssh.run("true", LIMIT).status == 0


@pytest.mark.parametrize(
    "command", ["sleep 60", "cat; sleep 60", "exec >&- 2>&-; sleep 60"], ids=str
)
def test_a_command_without_end_is_given_up(ssh: Ssh, command: str) -> None:
    ssh.run("true", LIMIT)
    began = time.monotonic()
    with pytest.raises(InfrastructureError, match=r"router: `.*sleep 60` .*no end within 0\.5 s"):
        ssh.run(command, 0.5)
    assert time.monotonic() - began < LIMIT


def test_input_that_never_gets_anywhere_is_given_up(ssh: Ssh) -> None:
    with pytest.raises(InfrastructureError, match="no end within"):
        ssh.run("sleep 60", 0.5, b"x" * 2 * WINDOW)


def test_a_connection_that_broke_is_made_again(ssh: Ssh, server: Server) -> None:
    ssh.run("true", LIMIT)
    server.drop()
    with contextlib.suppress(InfrastructureError):  # it may not know yet
        ssh.run("true", LIMIT)
    assert ssh.run("echo again", LIMIT).text == "again\n"


def test_a_connection_that_breaks_during_a_command_is_an_error(ssh: Ssh, server: Server) -> None:
    ssh.run("true", LIMIT)
    count = len(server.commands)

    def breaks() -> None:
        while len(server.commands) == count:
            time.sleep(0.01)
        server.drop()

    breaker = threading.Thread(target=breaks)
    breaker.start()
    with pytest.raises(InfrastructureError, match="the connection broke"):
        ssh.run("sleep 60", LIMIT)
    breaker.join()


def test_another_host_key_is_refused(server: Server) -> None:
    stranger = Ssh("router", server.port, KEY, ClientKey.generate().public)
    with pytest.raises(InfrastructureError, match="router: `true` over mgmt: Bad host key"):
        stranger.run("true", LIMIT)
    assert server.commands == []


def test_another_client_key_is_refused(server: Server) -> None:
    stranger = Ssh("router", server.port, ClientKey.generate(), server.host.public)
    with pytest.raises(InfrastructureError, match="Authentication failed"):
        stranger.run("true", LIMIT)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(InfrastructureError, match="refused"):
        Ssh("router", port, KEY, KEY.public).run("true", LIMIT)


def test_a_server_that_is_silent_is_given_up() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(InfrastructureError, match="over mgmt"),
    ):
        Ssh("router", silent.getsockname()[1], KEY, KEY.public).run("true", 0.5)


def test_openssh_reads_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(KEY.private)
    done = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True)
    assert done.stdout.split()[:2] == KEY.public.split()[:2]
