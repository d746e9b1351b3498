"""What differs between the architectures of a router. One entry here adds an architecture.

Kernel arguments: `mitigations=off nokaslr`, no tests of the ciphers and no generic drivers take
seconds off a boot under software emulation, `norandmaps` one more: code that is always at the same
place is translated once for all processes. `panic=-1` makes a panic end the machine at once
instead of hanging it.
The CPU models are the fastest ones under emulation that run all there is to run: autobahn's
native code ends with SIGILL on an x86_64 without SSE4, such as `qemu64`; `max` turns on pointer
authentication on aarch64, which quadruples the boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_COMMON_ARGUMENTS = (
    "quiet panic=-1 mitigations=off nokaslr norandmaps random.trust_cpu=on cryptomgr.notests"
)


@dataclass(frozen=True)
class Architecture:
    """One kind of router.

    `name` is ours for it: the kernel's and QEMU's where they agree; `debian` is Debian's. `kernel`
    is the Debian package, `platforms` the wheel tags that its C library runs, best first: none
    where the daemon runs on Debian's own packages.
    `machine` and `cpu` are what QEMU is told after `-machine` and `-cpu`; the disks are virtio
    block devices in the order root, state, library, the cards virtio in the order mgmt, wan.
    """

    name: str
    debian: str
    kernel: str
    platforms: tuple[str, ...]
    console: str
    qemu: str
    qemu_package: str
    machine: str
    cpu: str
    kernel_arguments: str

    @property
    def requirements(self) -> str:
        """The file in `requirements/` with what its daemon needs."""
        return "device.lock" if self.platforms else "debian-device.txt"


def _platforms(machine: str) -> tuple[str, ...]:
    # Debian 12 has glibc 2.36.
    return tuple(
        f"{tag}_{machine}"
        for tag in ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
    )


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        architecture.name: architecture
        for architecture in (
            Architecture(
                name="x86_64",
                debian="amd64",
                kernel="linux-image-cloud-amd64",
                platforms=_platforms("x86_64"),
                console="ttyS0",
                qemu="qemu-system-x86_64",
                qemu_package="qemu-system-x86",
                machine="q35",
                cpu="Nehalem",
                kernel_arguments=f"console=ttyS0 {_COMMON_ARGUMENTS}",
            ),
            Architecture(
                name="aarch64",
                debian="arm64",
                kernel="linux-image-cloud-arm64",
                platforms=_platforms("aarch64"),
                console="ttyAMA0",
                qemu="qemu-system-aarch64",
                qemu_package="qemu-system-arm",
                machine="virt",
                cpu="cortex-a76",
                kernel_arguments=f"console=ttyAMA0 {_COMMON_ARGUMENTS}",
            ),
            Architecture(
                name="armhf",
                debian="armhf",
                kernel="linux-image-armmp",
                platforms=(),
                console="ttyAMA0",
                qemu="qemu-system-arm",
                qemu_package="qemu-system-arm",
                machine="virt,highmem=off",
                cpu="cortex-a15",
                kernel_arguments=f"console=ttyAMA0 {_COMMON_ARGUMENTS}",
            ),
        )
    }
)
