"""A Debian of the kind that clouds have, made without a line of the routers' own recipe.

systemd, agetty and login on the serial console, networkd with DHCP, Python; booted by GRUB from the
first sector of a qcow2 disk. Only Debian's packages come the same way, see `harness.image.apt`.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import textwrap
from collections.abc import Iterable
from pathlib import Path

from harness.image import apt, cache, digest, tools

PACKAGES = (
    *("bash", "busybox-static", "coreutils", "dash", "dropbear-bin", "grep", "grub-common"),
    *("grub-pc-bin", "iproute2", "kmod", "libpam-modules", "linux-image-cloud-amd64", "login"),
    *("mount", "passwd", "procps", "python3", "sed", "systemd-sysv", "udev", "util-linux"),
)
_MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev")
_MODULES += ("virtio_pci", "virtio_blk")

FIRST_SECTOR = 2048
SIZE_MIB = 640
PASSWORD = "open sesame"
_HASH = (
    "$6$hil$oC738M/hEa0.KFJZyhAuKoI/BPENlcuZ4uJ1eAvVSBYfiUbBV4IPX.PdD6LCzLrZFOupXkxJ4hBg.IojIn6K9/"
)

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "etc/group": "root:x:0:\n",
    "etc/hostname": "cloud\n",
    "root/.profile": "PS1='root@cloud:~# '\n",
    "etc/hosts": "127.0.0.1 localhost cloud\n",
    "etc/shells": "/bin/sh\n/bin/bash\n",
    "etc/machine-id": f"{'5e' * 16}\n",
    "etc/fstab": "tmpfs /tmp tmpfs mode=1777 0 0\n",
    "etc/systemd/network/dhcp.network": "[Match]\nName=en*\n[Network]\nDHCP=ipv4\n",
    "etc/pam.d/common-auth": "auth required pam_unix.so nullok\n",
    "etc/pam.d/common-account": "account required pam_unix.so\n",
    "etc/pam.d/common-session": "session required pam_unix.so\n",
    "etc/pam.d/common-password": "password required pam_unix.so\n",
}
_OFF = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("fstrim.timer", "systemd-hwdb-update.service", "systemd-journal-flush.service"),
    *("systemd-logind.service", "systemd-pstore.service", "systemd-random-seed.service"),
    *("systemd-update-utmp.service", "getty@tty1.service", "serial-getty@ttyS0.service"),
)
_ON = ("systemd-networkd.service", "console-getty.service")
"""The console's own getty does not wait until udev has found the serial port, which on a starved
computer takes longer than systemd waits."""

EARLY = """\
set root=(hd0,msdos1)
linux /boot/kernel root=/dev/vda1 rw console=ttyS0 quiet no_timer_check 8250.nr_uarts=1
initrd /boot/initrd
boot
"""

INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for each in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$each; done
root=
mode=ro
for word in $(/bin/busybox cat /proc/cmdline); do
    case $word in
    root=*) root=${word#root=} ;;
    rw) mode=rw ;;
    init=*) init=${word#init=} ;;
    esac
done
if [ -z "$root" ]; then
    # a system of its own, as small as they get
    /bin/busybox mount -t sysfs sys /sys
    /bin/busybox mkdir -p /tmp /usr/bin /usr/sbin /sbin /etc
    /bin/busybox --install -s
    while :; do
        echo
        echo "Please press Enter to activate this console."
        read -r line
        PS1='root@tiny:/# ' setsid cttyhack sh
    done
fi
while [ ! -b "$root" ]; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 -o $mode "$root" /root
/bin/busybox mount -o move /dev /root/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /root ${init:-/sbin/init}
"""


def make() -> Path:
    """A folder with `disk.qcow2`, and with its `kernel` and its `initrd` for a boot without GRUB.

    Without `root=` on its command line the initrd is a system of its own: a busybox, no Python.
    It is in the cache of images until something here, or in `harness.image`, is another.
    """
    key = digest.key(code=digest.code(digest.IMAGE), recipe=digest.tree(Path(__file__)))
    return cache.entry(f"test-debian-{key[:16]}", _build, print)[0]


def describe(folder: Path, timeout: int) -> str:
    """Describe the disk as its user would. @return: the file; a password is beside it."""
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "password").chmod(0o600)
    file = folder / "router.yaml"
    file.write_text(
        textwrap.dedent(f"""\
            image: file
            architecture: x86_64
            disk: {make() / "disk.qcow2"}
            memory: 320
            console:
              prompt: 'root@cloud:.*# '
              login: root
              password_file: password
              timeout: {timeout}
            network: {{mgmt: enp0s2, wan: enp0s3, addresses: dhcp}}
            library: install
            """)
    )
    return str(file)


def _build(folder: Path) -> cache.Manifest:
    work = folder / "work"
    work.mkdir()
    tree = work / "tree"
    versions = apt.extract(PACKAGES, "amd64", tree, print)
    (image,) = tree.glob("boot/vmlinuz-*")
    modules = tree / "lib/modules" / image.name.removeprefix("vmlinuz-")
    shutil.copyfile(image, folder / "kernel")
    _initrd(folder / "initrd", tree, modules)
    core = _grub(work, tree)
    depmod = [_program("depmod"), "-b", str(tree), modules.name]
    subprocess.run(depmod, check=True)
    _configure(tree)
    shutil.copyfile(folder / "kernel", tree / "boot/kernel")
    shutil.copyfile(folder / "initrd", tree / "boot/initrd")
    _prune(tree)
    _disk(work, tree, core, folder / "disk.qcow2")
    shutil.rmtree(work)
    return {"packages": versions}


def _program(name: str) -> str:
    return tools.find(name, name)


def _configure(tree: Path) -> None:
    for name, text in FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shadow = tree / "etc/shadow"
    shadow.write_text(f"root:{_HASH}:20000::::::\n")
    shadow.chmod(0o600)
    units = tree / "etc/systemd/system"
    for unit in _OFF:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    for unit in _ON:
        (wanted / unit).symlink_to(f"/lib/systemd/system/{unit}")
    if not (tree / "bin/sh").exists():
        (tree / "bin/sh").symlink_to("dash")
    (tree / "root").chmod(0o700)
    shutil.rmtree(tree / "var/run", ignore_errors=True)
    (tree / "var/run").symlink_to("/run")  # as the script of base-files leaves it


def _prune(tree: Path) -> None:
    for name in (
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/lib/grub",
        "usr/share/info",
    ):
        shutil.rmtree(tree / name, ignore_errors=True)
    for name in ("var/cache/apt", "var/lib/apt"):
        shutil.rmtree(tree / name, ignore_errors=True)
    for path in tree.glob("boot/*-amd64"):
        path.unlink()
    for path in (tree / "dev").iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _initrd(target: Path, tree: Path, modules: Path) -> None:
    """A cpio archive of the kernel's newc format."""
    entries: list[tuple[str, int, bytes]] = [(name, 0o040755, b"") for name in ("bin", "modules")]
    entries.append(("bin/busybox", 0o100755, (tree / "bin/busybox").read_bytes()))
    entries.append(("bin/sh", 0o120777, b"busybox"))
    entries.append(("init", 0o100755, INIT.encode()))
    for name in _MODULES:
        (path,) = modules.rglob(f"{name}.ko")
        entries.append((f"modules/{name}.ko", 0o100644, path.read_bytes()))
    order = " ".join(f"{name}.ko" for name in _MODULES)
    entries.append(("modules/order", 0o100644, order.encode()))
    target.write_bytes(b"".join(_cpio([*entries, ("TRAILER!!!", 0, b"")])))


def _cpio(entries: Iterable[tuple[str, int, bytes]]) -> Iterable[bytes]:
    for number, (path, mode, data) in enumerate(entries, start=1):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        yield header + bytes(-len(header) % 4)
        yield data + bytes(-len(data) % 4)


def _grub(work: Path, tree: Path) -> bytes:
    """What GRUB has before the first partition: its boot sector, and its core behind that."""
    early, core = work / "early.cfg", work / "core.img"
    early.write_text(EARLY)
    modules = tree / "usr/lib/grub/i386-pc"
    libraries = ":".join(str(tree / where / "x86_64-linux-gnu") for where in ("lib", "usr/lib"))
    words = [tree / "lib64/ld-linux-x86-64.so.2", "--library-path", libraries]
    words += [tree / "usr/bin/grub-mkimage", "-O", "i386-pc", "-d", modules, "-p", "/boot/grub"]
    words += ["-c", early, "-o", core, "biosdisk", "part_msdos", "ext2", "linux"]
    subprocess.run([str(word) for word in words], check=True)
    boot = bytearray((modules / "boot.img").read_bytes().ljust(512, b"\0"))
    partition = struct.pack(
        "<B3sB3sII",
        0x80,
        b"\0\x02\0",
        0x83,
        b"\xff" * 3,
        FIRST_SECTOR,
        (SIZE_MIB << 11) - FIRST_SECTOR,
    )
    boot[446:512] = partition + bytes(48) + b"\x55\xaa"
    return bytes(boot) + core.read_bytes()


def _disk(work: Path, tree: Path, core: bytes, target: Path) -> None:
    raw = work / "raw"
    with raw.open("wb") as file:
        file.write(core)
        file.truncate(SIZE_MIB << 20)
    offset = FIRST_SECTOR << 9
    blocks = (SIZE_MIB << 10) - (offset >> 10)
    words = [_program("mke2fs"), "-q", "-F", "-t", "ext3", "-m", "0", "-b", "4096", "-d", str(tree)]
    words += ["-E", f"offset={offset},root_owner=0:0", str(raw), f"{blocks >> 2}"]
    subprocess.run(words, check=True)
    if os.geteuid() != 0:
        names = [str(each.relative_to(tree)) for each in tree.rglob("*")]
        lines = [f'sif "/{name}" {who} 0' for name in names for who in ("uid", "gid")]
        debug = [_program("debugfs"), "-w", "-f", "-", f"{raw}?offset={offset}"]
        text = "\n".join(lines) + "\n"
        subprocess.run(debug, input=text.encode(), check=True, capture_output=True)
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(target)]
    subprocess.run(convert, check=True)
