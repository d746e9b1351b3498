"""A root shell on the serial console of any system: log in, run commands, move small files.

Nothing but a POSIX shell is taken for granted, and of other tools one that prints bytes as text.
What is typed is short lines, one after another: a terminal keeps no more than 4095 characters that
nobody has read, and a small system's line editor less.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import shlex
import time
from collections.abc import Callable

from harness.device.base import Completed
from harness.device.console import Console
from harness.errors import BootError, CommandError, InfrastructureError

LINE = 60
"""Bytes of a file that one typed line carries; each takes up to four characters."""

ANSWER_SECONDS = 30
"""In which a busy system takes in a line."""

_FOLDERS = ("/tmp", "/run", "/var/run", "/dev/shm", "/dev")  # noqa: S108 - on the router
_ENCODERS = {
    "base64": "base64 <",
    "od": "od -An -v -tx1 <",
    "hexdump": "hexdump -v -e '/1 \"%02x\"' ",
}


def asked(prompt: str) -> re.Pattern[str]:
    """What a console asks for: the groups `prompt`, `login`, `password` and `enter`.

    @raise re.error: the regular expression of the prompt can't be a part of one.
    """
    # the prompt is first, and in no group: its back-references keep their numbers
    return re.compile(
        f"(?:{prompt})(?P<prompt>)|(?P<login>(?<![Ll]ast )[Ll]ogin: )|"
        r"(?P<password>[Pp]assword: ?)|(?P<enter>(?i:press enter)[^\n]*)"
    )


class Shell:
    """@param device: name for errors.
    @param prompt: regular expression of the shell's prompt.
    @param login: user to log in as; empty where no login is asked for.
    @param check: called while an answer is waited for; what it raises ends that.
    @ivar folder: one on the system that can be written, of ours alone.
    """

    def __init__(
        self,
        device: str,
        console: Console,
        prompt: str,
        login: str = "",
        password: str = "",
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._device = device
        self._console = console
        self._prompt = prompt
        self._login = login
        self._password = password
        self._check = check
        self.folder = ""
        self._encoder = ""

    def enter(
        self, timeout: float, since: int = 0, check: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until the system has booted, log in, and have a shell that takes commands.

        Nothing is typed before something asks for it: it would stop a boot loader.

        @param since, check: see `Console.wait_for`.
        @raise BootError: it does not get that far in `timeout` seconds, or the login is refused.
        """
        deadline = time.monotonic() + timeout
        wanted = asked(self._prompt).pattern
        said = False
        while True:
            try:
                left = max(deadline - time.monotonic(), 0.1)
                found = self._console.wait_for(wanted, left, since, check)
            except BootError as error:
                ended = "the machine ended" in error.what
                why = "the machine ended" if ended else f"{timeout:g} s passed"
                raise BootError(
                    f"{why} before the console showed its prompt, {self._prompt!r}",
                    device=self._device,
                    hint="what it did show is below: is `console` right in its description?",
                    evidence=error.evidence,
                ) from error
            since = found.end()
            if found["prompt"] is not None:
                break
            if found["enter"] is not None:
                self._console.send("\n")
            elif found["login"] is not None:
                self._refused(said or not self._login)
                said = True
                self._console.send(f"{self._login}\n")
            else:
                self._console.send(f"{self._password}\n")
        self._settle()

    def _refused(self, it_is: bool) -> None:
        if it_is:
            raise BootError(
                f"the console does not let {self._login or 'anybody'} in",
                device=self._device,
                hint="check login and password of `console`",
                evidence=self._console.tail(),
            )

    def _settle(self) -> None:
        """Have no echo, which a log would keep, no kernel messages, a folder, and an encoder."""
        self._line("PS1='# '; stty -echo 2>/dev/null; dmesg -n 1 2>/dev/null")
        tried = " ".join(_FOLDERS)
        make = "[ -d $d ] && mkdir -m 700 -p $d/.hil 2>/dev/null && answer=$d/.hil && break"
        self.folder = self._word(f"answer=; for d in {tried}; do {make}; done")
        if not self.folder:
            raise BootError(f"it can write nowhere: {tried}", device=self._device)
        known = " ".join(_ENCODERS)
        self._encoder = self._word(
            f"answer=; for e in {known}; do command -v $e >/dev/null && answer=$e && break; done"
        )
        if not self._encoder:
            raise BootError(f"it has none of {known}", device=self._device)

    def _word(self, command: str) -> str:
        """The variable `answer` after a command."""
        return self._line(command, 'echo "$answer"').strip()

    def _line(self, command: str, tell: str = ":", timeout: float = ANSWER_SECONDS) -> str:
        """Type a command, then one that prints. @return: what that printed."""
        begin, end = secrets.token_hex(4), secrets.token_hex(4)
        since = self._console.printed
        # what is typed may be echoed: the marks are not written as they will be printed
        marks = [f'echo "<""{mark}>"' for mark in (begin, end)]
        self._console.send(f"{command}; {marks[0]}; {tell}; {marks[1]}\n")
        try:
            found = self._console.wait_for(
                f"(?s)<{begin}>\r?\n(.*)<{end}>", timeout, since, self._check
            )
        except BootError as error:
            self._console.send("\x03")
            raise InfrastructureError(
                "no answer on the console", device=self._device, evidence=error.evidence
            ) from error
        return found[1].replace("\r", "")

    def run(self, command: str, timeout: float) -> Completed:
        """Run a shell command.

        @raise InfrastructureError: no end of it within `timeout` seconds.
        """
        c, o, e = (f"{self.folder}/{name}" for name in "coe")
        self._type(c, command.encode())
        show = f"echo $s; {self._show(o)}; echo '<'; {self._show(e)}"
        try:
            text = self._line(f"sh {c} >{o} 2>{e} </dev/null; s=$?", show, timeout)
        except InfrastructureError as error:
            why = f"`{command[:200]}` on the console: no end within {timeout:g} s"
            raise InfrastructureError(why, device=self._device, evidence=error.evidence) from error
        status, _, rest = text.partition("\n")
        output, _, errors = rest.partition("<")
        try:
            return Completed(command, int(status), self._decode(output), self._decode(errors))
        except ValueError as error:
            raise InfrastructureError(
                "something else was printed on the console amid an answer",
                device=self._device,
                evidence=text[-500:],
            ) from error

    def write(self, path: str, data: bytes, mode: int) -> None:
        """Replace a file; a kilobyte takes about a second.

        @raise CommandError: it can't be written.
        """
        fresh = f"{self.folder}/w"
        self._type(fresh, data)
        target = shlex.quote(path)
        done = self.run(f"cat {fresh} >{target} && chmod {mode:o} {target} && rm {fresh}", 60)
        if done.status != 0:
            said = done.stderr.decode(errors="replace")
            raise CommandError(f"can't write {path}", device=self._device, evidence=said)

    def read(self, path: str) -> bytes:
        """@raise CommandError: it can't be read."""
        done = self.run(f"cat {shlex.quote(path)}", 120)
        if done.status != 0:
            said = done.stderr.decode(errors="replace")
            raise CommandError(f"can't read {path}", device=self._device, evidence=said)
        return done.stdout

    def _type(self, path: str, data: bytes) -> None:
        self._line(f": >{path}")
        for start in range(0, len(data), LINE):
            text = "".join(map(_typed, data[start : start + LINE]))
            self._line(f"printf '{text}' >>{path}")
        there = self._line(":", f"wc -c <{path}").strip()
        if there != str(len(data)):
            raise InfrastructureError(
                f"a file arrived on the console with {there} bytes of {len(data)}",
                device=self._device,
                hint="does something else print or type there?",
            )

    def _show(self, path: str) -> str:
        return f"{_ENCODERS[self._encoder]}{path}"

    def _decode(self, text: str) -> bytes:
        plain = re.sub(r"\s", "", text)
        if self._encoder == "base64":
            try:
                return base64.b64decode(plain, validate=True)
            except binascii.Error as error:
                raise ValueError(str(error)) from error
        return bytes.fromhex(plain)


def _typed(byte: int) -> str:
    """A byte as printf takes it: what a shell, printf or a terminal would change is octal."""
    safe = chr(byte).isascii() and chr(byte).isprintable() and chr(byte) not in "'\\%!-"
    return chr(byte) if safe else f"\\{byte:03o}"
