"""What is said when QEMU, and not the router in it, is at fault; nothing here boots."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.device import machine, qemu
from harness.device.qemu import QemuDevice, QemuX86Device
from harness.errors import BootError, InfrastructureError, MissingToolError, SuiteError
from harness.evidence.timeline import Timeline

SOON = 25.0
"""Seconds; less than the time-out of what is waited for."""


@pytest.fixture
def device() -> Iterator[QemuDevice]:
    with tempfile.TemporaryDirectory(prefix="qemu-") as folder:
        timeline = Timeline(Path(folder) / "timeline.jsonl")
        device = QemuX86Device(Path(folder), timeline)
        yield device
        device.close()
        timeline.close()


@pytest.fixture
def with_options(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Adds to QEMU's command line; of options given twice the last one counts."""

    def add(*options: str) -> None:
        command = machine.command

        def longer(*arguments: Any) -> list[str]:
            return [*command(*arguments), *options]

        monkeypatch.setattr(machine, "command", longer)

    return add


def test_no_qemu_names_the_package(device: QemuDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which("mke2fs")  # the state disk is made first
    assert found
    tools = device.folder / "bin"
    tools.mkdir()
    (tools / "mke2fs").symlink_to(found)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(
        MissingToolError, match=r"qemu-system-x86_64 .*apt-get install qemu-system-x86\)"
    ):
        device.boot()


def test_a_qemu_that_refuses_its_options_is_quoted(
    device: QemuDevice, with_options: Callable[..., None]
) -> None:
    with_options("-cpu", "no-such-cpu")
    began = time.monotonic()
    with pytest.raises(InfrastructureError, match="QEMU ended by itself, status 1") as raised:
        device.boot()
    assert time.monotonic() - began < SOON
    assert "no-such-cpu" in raised.value.evidence
    assert "printed nothing" in raised.value.evidence


def test_a_damaged_kernel_is_the_infrastructures(device: QemuDevice) -> None:
    kernel = device.folder / "kernel"
    kernel.write_bytes(b"no kernel")
    device.image = dataclasses.replace(device.image, kernel=kernel)
    with pytest.raises(InfrastructureError, match="QEMU ended by itself"):
        device.boot()
    with pytest.raises(InfrastructureError, match="QEMU ended by itself"):
        device.run("true")


def test_a_router_that_never_comes_up_is_a_boot_error(
    device: QemuDevice, with_options: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "BOOT_SECONDS", 0.5)
    with_options("-S")  # a machine that never runs
    with pytest.raises(BootError, match=r"0\.5 s passed before .*router ready") as raised:
        device.boot()
    assert raised.value.evidence == "the console printed nothing"
    assert "accelerator" in device.facts()
    device.close()
    device.close()
    (started,) = device.timeline.events(match=lambda entry: entry["event"] == "power on")
    assert not Path(f"/proc/{started['pid']}").exists()


def test_what_the_console_showed_last_is_in_the_boot_error(
    device: QemuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "BOOT_SECONDS", 0.5)
    (device.folder / "console.log").write_text("from the boot before\n")
    with pytest.raises(BootError) as raised:
        device.boot()
    assert "from the boot before" in raised.value.evidence


def test_powered_off_it_says_so(device: QemuDevice) -> None:
    with pytest.raises(InfrastructureError, match="is powered off"):
        device.run("true")
    device.link("wan").down()
    device.power.cut()
    with pytest.raises(SuiteError, match="has no cable 'lan'"):
        device.link("lan")


def test_a_run_folder_too_deep_for_sockets_is_said_to_be(device: QemuDevice) -> None:
    deep = device.folder / ("deep" * 30)
    deep.mkdir()
    other = QemuX86Device(deep, device.timeline)
    with pytest.raises(InfrastructureError, match="107 bytes"):
        other.boot()
    other.close()
    assert [path.name for path in deep.iterdir()] == ["state.ext4"]
