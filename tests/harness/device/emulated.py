"""An emulated router for a test, and what tells it from another."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.device.qemu import QemuDevice, QemuX86Device
from harness.device.wan import Wan
from harness.evidence.timeline import Timeline

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
