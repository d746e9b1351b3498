"""A root shell on a console: logged in where that is asked for, and anything can go through it.

The console is a real terminal with a real shell; what asks for the login is a few lines of sh.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.device.console import Console
from harness.device.file import shell as shells
from harness.device.file.shell import Shell
from harness.errors import BootError, CommandError, InfrastructureError

LIMIT = 60.0
PROMPT = r"root@board:.*# "
SHELL = "PS1='root@board:/# ' exec dash -i"
LOGIN = f"""
echo 'Last login: yesterday'
while :; do
    printf 'board login: '; read -r user
    stty -echo; printf 'Password: '; read -r password; stty echo; echo
    [ "$user $password" != 'root open sesame' ] || break
    echo 'Login incorrect'
done
{SHELL}
"""
ENTER = f"echo 'Please press Enter to activate this console.'; read -r any; {SHELL}"

Serial = Callable[[str], Console]


class Terminal:
    """A program on a terminal of its own, at the other end of a console's socket."""

    def __init__(self, folder: Path, script: str) -> None:
        self._log = folder / "console.log"
        path = folder / "console.sock"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self.console = Console("board", path, self._log)
        self._end, _ = self._server.accept()
        self._master, slave = pty.openpty()
        self._child = subprocess.Popen(
            ["setsid", "--ctty", "sh", "-c", script],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
        )
        os.close(slave)
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        ends = {self._master: self._end.fileno(), self._end.fileno(): self._master}
        while True:
            for source in select.select(list(ends), [], [])[0]:
                try:
                    data = os.read(source, 4096)
                    if source == self._master:
                        with self._log.open("ab") as log:
                            log.write(data)
                    os.write(ends[source], data)
                except OSError:
                    return
                if not data:
                    return

    def close(self) -> None:
        self.console.close()
        self._thread.join(LIMIT)
        self._end.close()
        self._server.close()
        self._child.kill()
        self._child.wait()
        os.close(self._master)


@pytest.fixture
def serial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serial]:
    monkeypatch.setattr(shells, "_FOLDERS", (str(tmp_path / "none"), str(tmp_path)))
    made: list[Terminal] = []

    def serial(script: str) -> Console:
        made.append(Terminal(tmp_path, script))
        return made[-1].console

    yield serial
    for each in made:
        each.close()


@pytest.fixture
def shell(serial: Serial) -> Shell:
    shell = Shell("board", serial(SHELL), PROMPT)
    shell.enter(LIMIT)
    return shell


def test_a_login_is_given_once_it_is_asked_for(serial: Serial) -> None:
    console = serial(LOGIN)
    shell = Shell("board", console, PROMPT, "root", "open sesame")
    shell.enter(LIMIT)
    assert shell.run("echo in", LIMIT).stdout == b"in\n"
    assert "sesame" not in console.log.read_text()


def test_a_login_that_is_refused_is_not_tried_again(serial: Serial) -> None:
    shell = Shell("board", serial(LOGIN), PROMPT, "root", "wrong")
    with pytest.raises(BootError, match=r"does not let root in \(check login") as raised:
        shell.enter(LIMIT)
    assert "Login incorrect" in raised.value.evidence


def test_a_console_that_wants_enter_gets_it(serial: Serial) -> None:
    shell = Shell("board", serial(ENTER), PROMPT)
    shell.enter(LIMIT)
    assert shell.run("true", LIMIT).status == 0


def test_a_prompt_that_never_comes_is_a_boot_error_with_what_came(serial: Serial) -> None:
    shell = Shell("board", serial(SHELL), "router> ")
    with pytest.raises(BootError, match=r"1 s passed .* its prompt, 'router> ' \(what") as raised:
        shell.enter(1)
    assert "root@board:/#" in raised.value.evidence


def test_a_command_has_a_status_and_two_streams(shell: Shell) -> None:
    done = shell.run("echo out; echo err >&2; exit 7", LIMIT)
    assert (done.status, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert shell.run("cat", LIMIT).stdout == b""  # nobody types for it


def test_whatever_a_command_has_in_it_arrives(shell: Shell) -> None:
    odd = "printf %s 'a\"b$c`d\\e%f!g\th\u00e4'; cat <<'X'\n\n'two'\nX"
    assert shell.run(odd, LIMIT).text == "a\"b$c`d\\e%f!g\th\u00e4\n'two'\n"


@pytest.mark.parametrize("program", ["dash", "bash --norc --noprofile", "busybox sh"])
def test_a_token_that_is_written_is_not_in_the_log(
    serial: Serial, tmp_path: Path, program: str
) -> None:
    if shutil.which(program.split()[0]) is None:
        pytest.skip(f"{program} is not installed")
    console = serial(f"PS1='root@board:/# ' exec {program} -i")
    shell = Shell("board", console, PROMPT)
    shell.enter(LIMIT)
    shell.write(str(tmp_path / "token"), b"open sesame", 0o600)
    assert (tmp_path / "token").read_bytes() == b"open sesame"
    assert "sesame" not in console.text
    assert "sesame" not in console.log.read_text()


@pytest.mark.parametrize("encoder", ["base64", "od", "hexdump"])
def test_files_of_any_bytes(shell: Shell, tmp_path: Path, encoder: str) -> None:
    if shutil.which(encoder) is None:
        pytest.skip(f"{encoder} is not installed")
    shell._encoder = encoder
    data = bytes(range(256)) * 3
    target = tmp_path / "it's here"
    shell.write(str(target), data, 0o640)
    assert target.read_bytes() == data
    assert target.stat().st_mode & 0o777 == 0o640
    assert shell.read(str(target)) == data


def test_what_a_disturbed_line_lost_is_noticed(shell: Shell, tmp_path: Path) -> None:
    typed = shell._line
    shell._line = lambda command, *more: typed(command.replace("lost", ""), *more)  # type: ignore[method-assign]
    with pytest.raises(InfrastructureError, match=r"arrived on the console with 6 bytes of 10"):
        shell.write(str(tmp_path / "file"), b"not lost\n\n", 0o644)


def test_a_file_that_can_t_be_had_is_the_routers(shell: Shell) -> None:
    with pytest.raises(CommandError, match="can't read /none") as raised:
        shell.read("/none")
    assert "No such file" in raised.value.evidence
    with pytest.raises(CommandError, match="can't write /none/file"):
        shell.write("/none/file", b"", 0o600)


def test_a_command_that_does_not_end_is_given_up(shell: Shell) -> None:
    with pytest.raises(InfrastructureError, match="`sleep 100` on the console: no end within 1 s"):
        shell.run("sleep 100", 1)
    assert shell.run("echo again", LIMIT).stdout == b"again\n"
