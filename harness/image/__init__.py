"""Router images: built like firmware, by one recipe, without running foreign code.

`build` makes or finds the image of an architecture; `state_disk` makes the disk of one router,
with a `host_key` of its own. A router's disks, in this order:

=====  ========  ==================================================================
vda    squashfs  Debian, Python and the wheels of `requirements/device.lock`
vdb    ext4      what this router keeps: upper layers of /etc, /root and /var
vdc    squashfs  the library under test, from the wheel that a release would ship
=====  ========  ==================================================================

`/` is a read-only overlay of vdc over vda; /etc, /root and /var are overlays of vdb over it, so
a router writes nowhere else; /run, /tmp and /dev/shm are memory. The layers themselves are at
/rom/root, /rom/library and /rom/state.

Network cards, by their PCI slot: eth0 is mgmt (10.0.2.15/24), where alone SSH listens; eth1 is
wan (10.0.3.15/24), over which the daemon reaches the host as 10.0.3.2. There is no default
route: a router reaches these two networks and nothing else.

The console has a root shell, with or without network. A boot prints `paradrop: …` lines there,
`paradrop: router ready` as soon as SSH answers, `paradrop: boot failed: …` if it never will.
"""

from harness.image.architecture import ARCHITECTURES, Architecture
from harness.image.build import Image, build, check, find
from harness.image.hostkey import host_key
from harness.image.state import (
    AUTHORIZED_KEYS,
    CONFIGURATION_HOME,
    HOST_KEY,
    OWNERS,
    StateFile,
    state_disk,
)

__all__ = [
    "ARCHITECTURES",
    "AUTHORIZED_KEYS",
    "CONFIGURATION_HOME",
    "HOST_KEY",
    "OWNERS",
    "Architecture",
    "Image",
    "StateFile",
    "build",
    "check",
    "find",
    "host_key",
    "state_disk",
]
