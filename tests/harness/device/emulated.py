"""An emulated router for a test, and what tells it from another."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import image
from harness.device.qemu import QemuDevice, QemuX86Device
from harness.device.wan import Wan
from harness.evidence.timeline import Timeline
from harness.image import cache

OWN = {
    "boot id": "cat /proc/sys/kernel/random/boot_id",
    "machine id": "cat /etc/machine-id",
    "host name": "hostname; cat /etc/hostname",
    "mgmt address": "cat /sys/class/net/eth0/address",
    "wan address": "cat /sys/class/net/eth1/address",
    "host key": "md5sum < /etc/dropbear/dropbear_ed25519_host_key",
    "administrator's key": "cat /root/.ssh/authorized_keys",
    "certificate authority": "cat /etc/paradrop/ca.pem",
    "random numbers": "head -c 16 /dev/urandom | md5sum",
    "Python's random numbers": "python3 -c 'import os; print(os.urandom(16))'",
}


def own_cache(home: Path) -> dict[str, str]:
    """A cache with all that is in the real one but for its golden states.

    @return: what to set in the environment.
    """
    real = cache.folder()
    for arch in image.ARCHITECTURES:
        image.build(arch)
    own = home / "cache"
    images = own / real.relative_to(real.parents[1])
    images.mkdir(parents=True)
    for entry in real.iterdir():
        if entry.is_dir() and not entry.name.startswith((".", "golden-")):
            (images / entry.name).symlink_to(entry)
    return {"XDG_CACHE_HOME": str(own)}


@contextlib.contextmanager
def started(
    kind: type[QemuDevice] = QemuX86Device,
    name: str = "router",
    config: Mapping[str, bytes] = {"settings.ini": b"[base]\n"},
    network: Wan | None = None,
) -> Iterator[QemuDevice]:
    """@param name: of its folder. @param network: a wan with others."""
    with tempfile.TemporaryDirectory(prefix="qemu-") as folder:
        home = Path(folder) / name
        home.mkdir()
        timeline = Timeline(home / "timeline.jsonl")
        device = kind(home, timeline)
        device.config = dict(config)
        try:
            if network is not None:
                device.share(network)
            device.start()
            yield device
        finally:
            device.close()
            timeline.close()
