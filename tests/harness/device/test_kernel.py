"""What is read from a console as the end of a kernel, and what only looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.device import kernel
from harness.device.boots import Boots
from harness.errors import DeviceError

STAMPED = """\
root@router:/# [    5.484597] sysrq: Trigger a crash
[    5.487242] Kernel panic - not syncing: sysrq triggered crash
[    5.487693] CPU: 0 PID: 145 Comm: sh Not tainted 6.1.0-56-cloud-arm64 #1
[    5.493590] Memory Limit: none
"""
PLAIN = """\
Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100
CPU: 0 PID: 1 Comm: procd Not tainted 5.15.137 #0
Rebooting in 1 seconds..
"""
OOPS = "[   12.100000] Kernel panic - not syncing: Oops: Fatal exception\n"
OUT_OF_MEMORY = (
    "[ 1.0] x\n[   99.000001][  T1] Kernel panic - not syncing: System is deadlocked on memory"
)
ECHOED = "Kernel panic - not syncing: an operator's joke\nroot@router:/# ls\n"
COMMAND = "root@router:/# grep 'Kernel panic - not syncing: x' log\n"
HANGS = STAMPED + "[    5.5] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\n"
RESTARTS = "[   10.123456] reboot: Restarting system\n"
HALTED = "[   10.123456] reboot: System halted\n"
BOOTS = "paradrop: x86_64, kernel 6.1.0 (2.15 s)\nparadrop: router ready (2.91 s)\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (STAMPED, "sysrq triggered crash"),
        (STAMPED.replace("\n", "\r\n"), "sysrq triggered crash"),
        (PLAIN, "Attempted to kill init! exitcode=0x00000100"),
        (OOPS, "Oops: Fatal exception"),
        (OUT_OF_MEMORY, "System is deadlocked on memory"),
        (RESTARTS + BOOTS + STAMPED + BOOTS, "sysrq triggered crash"),
        (HANGS, "sysrq triggered crash"),
        (PLAIN + OOPS, "Oops: Fatal exception"),
    ],
    ids=["stamped", "CRLF", "plain", "oops", "memory", "second boot", "hangs", "the last one"],
)
def test_a_panic_has_the_kernels_own_reason(text: str, why: str) -> None:
    found = kernel.panic(text)
    assert found is not None
    assert found.why == why
    assert why in found.printed


@pytest.mark.parametrize(
    "text",
    ["", ECHOED, COMMAND, BOOTS, RESTARTS, ECHOED + RESTARTS, STAMPED + RESTARTS],
    ids=["nothing", "echoed", "command", "boots", "restarts", "echoed, restarts", "went on"],
)
def test_what_is_no_panic(text: str) -> None:
    assert kernel.panic(text) is None


def test_an_oops_that_was_survived_is_told_in_the_evidence() -> None:
    oops = "[    7.000001] BUG: kernel NULL pointer dereference, address: 0000000000000000"
    assert kernel.damage(f"{BOOTS}{oops}\r\nhello\n") == oops
    assert kernel.damage(BOOTS + ECHOED.lower()) == ""


@pytest.mark.parametrize(
    ("text", "halted"),
    [(HALTED, True), (HALTED + BOOTS, False), (RESTARTS, False)],
)
def test_a_halt_is_the_last_line(text: str, halted: bool) -> None:
    assert kernel.halted(text) is halted


class TestBoots:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        log = tmp_path / "console.log"
        log.write_text(HANGS)
        return log

    @pytest.fixture
    def boots(self, log: Path) -> Boots:
        return Boots("router", log)

    def prints(self, log: Path, text: str) -> None:
        with log.open("a") as file:
            file.write(text)

    def test_an_earlier_power_on_does_not_count(self, boots: Boots) -> None:
        boots.autopsy()
        boots.check_kernel(gone=True)

    def test_text_alone_is_no_proof(self, boots: Boots, log: Path) -> None:
        self.prints(log, STAMPED)
        boots.check_kernel()
        boots.check_answering()

    @pytest.mark.parametrize("proof", ["gone", "reset", "booted", "QEMU", "silent"])
    def test_what_makes_it_one(self, proof: str, boots: Boots, log: Path) -> None:
        self.prints(log, STAMPED)
        boots.panicked = proof == "QEMU"
        if proof == "reset":
            boots.reset(100)
        if proof == "booted":
            self.prints(log, BOOTS)
        with pytest.raises(DeviceError, match="the kernel panicked: sysrq triggered crash") as told:
            boots.autopsy() if proof == "silent" else boots.check_kernel(gone=proof == "gone")
        assert "Memory Limit: none" in told.value.evidence

    def test_one_that_hangs_does_not_answer(self, boots: Boots, log: Path) -> None:
        self.prints(log, HANGS)
        with pytest.raises(DeviceError, match="panicked"):
            boots.check_answering()
        boots.reset(100)  # by its watchdog
        boots.check_answering()
        with pytest.raises(DeviceError, match="panicked"):
            boots.check_kernel()

    def test_one_that_was_wanted_is_none(self, boots: Boots, log: Path) -> None:
        self.prints(log, STAMPED)
        boots.panicked = True
        boots.reset(100)
        boots.expect_no_more()
        boots.check_kernel()
        self.prints(log, OOPS)
        boots.reset(200)
        with pytest.raises(DeviceError, match="Fatal exception"):
            boots.check_kernel()

    def test_the_end_of_the_power_does_not_hide_it(self, boots: Boots, log: Path) -> None:
        self.prints(log, STAMPED + BOOTS)
        boots.end()
        boots.begin()
        boots.check_answering()
        with pytest.raises(DeviceError, match="panicked"):
            boots.check_kernel()

    def test_one_that_hangs_is_known_to_who_cuts_the_power(self, boots: Boots, log: Path) -> None:
        self.prints(log, HANGS)
        boots.end()
        boots.begin()
        boots.check_kernel()

    def test_several_resets_are_one_reboot(self, boots: Boots) -> None:
        assert [boots.reset(now) for now in (100, 100.02, 100.4, 104)] == [True, False, False, True]
        assert boots.count == 2
