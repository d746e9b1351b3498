"""QEMU's command line for an image that somebody brings.

The hardware is what most systems have drivers for: virtio disk, network cards, serial port and
random numbers. On a PC the cards are in the slots 2 (mgmt) and 3 (wan).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.device.accel import Accelerator
from harness.device.file.description import Firmware
from harness.device.machine import TRANSLATED_MIB, wiring
from harness.device.qmp import escape
from harness.errors import InfrastructureError, UsageError

EFI = {"aarch64": (Path("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"), "qemu-efi-aarch64")}
"""The firmware that boots a disk, where QEMU has none of its own, and the package that has it."""


def efi(firmware: Firmware) -> Path | None:
    """The firmware that its disk needs.

    @raise UsageError: there is none.
    @raise InfrastructureError: it is not installed.
    """
    machine = firmware.architecture.name
    if firmware.kernel is not None or machine == "x86_64":
        return None
    if machine not in EFI:
        why = f"{firmware.path}: nothing boots a disk on {machine}"
        raise UsageError(why, hint="name a kernel, and the disk as its root")
    path, package = EFI[machine]
    if not path.is_file():
        raise InfrastructureError(
            f"{firmware.path}: its disk needs {path} to boot", hint=f"apt-get install {package}"
        )
    return path


def command(
    firmware: Firmware,
    accelerator: Accelerator,
    folder: Path,
    disk: Path | None,
    addresses: Sequence[bytes],
    wan: str,
    packets: str,
) -> list[str]:
    """The command line, but for the control socket.

    @param folder: where its sockets and logs are.
    @param disk: of the device itself, qcow2.
    @param addresses: MAC addresses of mgmt and wan.
    @param wan: what the cable of wan leads to: see `harness.device.wan.Port`.
    @param packets: name of the file that the packets of wan go to.
    """
    machine = firmware.architecture
    words = [machine.qemu, "-machine", machine.machine, "-accel", accelerator.name]
    if accelerator.name == "tcg":
        words[-1] += f",tb-size={TRANSLATED_MIB}"
    words += ["-cpu", "host" if accelerator.name == "kvm" else machine.cpu]
    words += ["-m", str(firmware.memory), "-nodefaults", "-display", "none", "-no-user-config"]
    if (bios := efi(firmware)) is not None:
        words += ["-bios", str(bios)]
    if firmware.kernel is not None:
        words += ["-kernel", str(firmware.kernel)]
    if firmware.initrd is not None:
        words += ["-initrd", str(firmware.initrd)]
    if firmware.append:
        words += ["-append", firmware.append]
    if disk is not None:
        # what QEMU holds back is written when the system flushes, but the host's disk is not
        # waited for: this computer does not lose its power
        words += ["-drive", f"if=none,id=disk,format=qcow2,file.filename={escape(disk)}"]
        words[-1] += ",file.cache.no-flush=on"
        words += ["-device", "virtio-blk-pci,drive=disk,addr=0x4"]
    return words + wiring(folder, addresses, wan, packets, card=",romfile=")
