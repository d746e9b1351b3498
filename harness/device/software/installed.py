"""The daemon on a system that has it already, and starts it by itself."""

from __future__ import annotations

from typing import Literal

from harness.device.software import CONFIG_HOME, LOG_LINES, NO_TIMEOUT, Run, Write
from harness.errors import CommandError

_SERVICE = "paradropd"
_SCRIPTS = ("/etc/init.d/paradropd", "/etc/init.d/paradrop")


class Installed:
    """What `Software` is where nothing has to be put there: see there.

    The daemon is a service of systemd, or has a script in `/etc/init.d`.
    """

    def __init__(self, device: str, run: Run, write: Write) -> None:
        self._device = device
        self._run = run
        self._version = ""

    def obstacles(self) -> list[str]:
        """What is missing there, a line each."""
        why = []
        if self._run("command -v paradropd", 60).status != 0:
            why.append("there is no command paradropd: install the library, or `library: install`")
        if self._run(self._with_service("true"), 60).status != 0:
            places = " nor ".join(_SCRIPTS)
            why.append(f"there is neither a service {_SERVICE} of systemd, nor {places}")
        if self._run("command -v timeout", 60).status != 0:
            why.append(NO_TIMEOUT)
        if self._run("id paradrop", 60).status != 0:
            why.append("it has no user paradrop")
        if self._run(f"test -w {CONFIG_HOME}", 60).status != 0:
            why.append(f"{CONFIG_HOME} is not there, or can't be written")
        return why

    def facts(self) -> dict[str, str]:
        self._version = self._version or self._run("paradropd --version", 120).text.strip()
        return {"daemon": self._version}

    def command(self, text: str) -> str:
        return text

    def install(self) -> None:
        """Nothing has to be put there."""

    def daemon(self, action: Literal["start", "stop", "restart"]) -> None:
        """@raise CommandError: it does not do it."""
        systemd, script = f"systemctl {action} {_SERVICE}", f'"$s" {action}'
        done = self._run(self._with_service(systemd, script), 120)
        if done.status != 0:
            raise CommandError(
                f"the daemon does not {action}", device=self._device, evidence=done.said
            )

    def log(self) -> str:
        """See `Software`; empty where systemd keeps no journal."""
        return self._run(f"journalctl -u {_SERVICE} -n {LOG_LINES} --no-pager", 60).text

    @staticmethod
    def _with_service(systemd: str, script: str = "true") -> str:
        scripts = " ".join(_SCRIPTS)
        return (
            f"if systemctl cat {_SERVICE} >/dev/null 2>&1; then {systemd}; exit; fi; "
            f'for s in {scripts}; do [ ! -x "$s" ] || {{ {script}; exit; }}; done; exit 1'
        )
