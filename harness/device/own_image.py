"""What a router with our own image has, whatever runs it: its paths, its init, its agent."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import PurePosixPath

from harness.device.agent import Agent
from harness.device.base import Action, Device, check_action
from harness.image import OWNERS


class OwnImageDevice(Device):
    """Files go over the agent."""

    config_home = PurePosixPath("/etc/paradrop")
    runtime_home = PurePosixPath("/var/run/paradrop")
    daemon_user = "paradrop"

    @property
    @abstractmethod
    def agent(self) -> Agent:
        """Commands and files. @raise InfrastructureError: it has no power."""

    def write(
        self,
        path: PurePosixPath | str,
        data: bytes,
        mode: int = 0o644,
        owner: str | None = None,
    ) -> None:
        self.agent.write((str(path), mode, OWNERS[owner or "root"], data))
        self.agent.sync()

    def read(self, path: PurePosixPath | str) -> bytes:
        return self.agent.read(str(path))

    def daemon(self, action: Action) -> None:
        check_action(action)
        self.succeed(f"/etc/init.d/paradrop {action}")
