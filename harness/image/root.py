"""The root of a router, from Debian packages, wheels and the files in `guest/root`.

Where there are no wheels for an architecture, Debian has what the daemon needs, too.

Nothing of it is ever run here, so what Debian's maintainer scripts would do is done by hand:
the merged `/usr`, users, the `python3` link, the certificates of the trust store, byte code,
the list of modules. Busybox serves the commands that Debian's own packages do not bring.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError
from harness.image import apt, digest, initramfs, python, squashfs, tools
from harness.image.architecture import Architecture
from harness.image.digest import sha256

GUEST = Path(__file__).parent / "guest"

PACKAGES = (
    "bash",
    "busybox-static",
    "ca-certificates",
    "coreutils",
    "dash",
    "dropbear-bin",
    "iproute2",
    "libc-bin",
    f"lib{python.NAME}-stdlib",
    f"{python.NAME}-minimal",
    "nftables",
    "procps",
)
"""Debian packages of every router, beside its kernel."""


_FOLDERS = (
    *("dev", "etc", "proc", "rom/library", "rom/root", "rom/state", "root", "run", "sys", "tmp"),
    *("var/cache", "var/lib", "var/log", "var/tmp"),
)
_KEEP_OF_ETC = ("iproute2", "ssl")

_DROP_FROM_PYTHON = ("test", "tests", "*.pyi", "_flatc")


@dataclass(frozen=True)
class Parts:
    """What a build of the root has made, and from what."""

    kernel: str
    packages: dict[str, str]
    wheels: dict[str, dict[str, str]]


def build(
    architecture: Architecture, needs: Path, folder: Path, progress: Callable[[str], None]
) -> Parts:
    """Make `kernel`, `initramfs` and `root.squashfs` in a folder.

    @param needs: the requirements of the library: with hashes, or as Debian packages.
    @param progress: called with a line at each step.
    @raise ImageError: a mirror, a tool or the disk failed; MissingToolError: a tool is missing.
    """
    python.interpreter()  # say so before minutes are spent
    work = folder / "work"
    root = work / "root"
    work.mkdir()
    progress(f"unpacking Debian packages for {architecture.debian}")
    wanted = [*PACKAGES, architecture.kernel]
    if not architecture.platforms:
        wanted += lines(needs)
    packages = apt.extract(wanted, architecture.debian, root, progress)
    kernel = _take_kernel(root, folder / "kernel")
    wheels = {}
    if architecture.platforms:
        progress("fetching wheels")
        wheels = _install_wheels(architecture, needs, work / "wheels", root)
    progress("putting the root together")
    _prune(root)
    _configure(root, architecture)
    _prune_modules(root / "usr/lib/modules" / kernel)
    tools.run(["depmod", "-b", root, kernel], "kmod", purpose="listing the kernel's modules")
    progress("compiling Python")
    python.compile_tree(root, [root / "usr/lib" / python.NAME, root / python.PACKAGES])
    progress("packing initramfs and root")
    initramfs.write(
        folder / "initramfs",
        root / "usr/bin/busybox",
        root / "usr/lib/modules" / kernel,
        GUEST / "initramfs/init",
    )
    squashfs.pack(root, folder / "root.squashfs", private=("etc/shadow", "root"))
    shutil.rmtree(work)
    return Parts(kernel, packages, wheels)


def _take_kernel(root: Path, target: Path) -> str:
    images = sorted(root.glob("boot/vmlinuz-*"))
    if len(images) != 1:
        raise ImageError(f"{len(images)} kernels were unpacked instead of one")
    shutil.copyfile(images[0], target)
    return images[0].name.removeprefix("vmlinuz-")


def _install_wheels(
    architecture: Architecture, lock: Path, folder: Path, root: Path
) -> dict[str, dict[str, str]]:
    python.download(architecture, lock, folder)
    installed = {}
    for wheel in sorted(folder.glob("*.whl")):
        name, version = python.unpack(wheel, root)
        installed[name.lower()] = {"version": version, "sha256": sha256(wheel)}
    return installed


def drop_tests(packages: Path) -> None:
    """Remove from unpacked packages what only their developers need."""
    for pattern in _DROP_FROM_PYTHON:
        for path in list(packages.rglob(pattern)):
            _remove(path)


def _prune(root: Path) -> None:
    _merge_usr(root)
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = b"".join(path.read_bytes() for path in certificates)
    doomed = [path for pattern in _listing("drop") for path in root.glob(pattern)]
    doomed += [path for path in (root / "etc").iterdir() if path.name not in _KEEP_OF_ETC]
    for path in doomed:
        _remove(path)
    drop_tests(root / python.PACKAGES)
    target = root / "etc/ssl/certs/ca-certificates.crt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(bundle)


def _drop_orphaned_scripts(root: Path) -> None:
    """Remove commands whose interpreter is not on the router."""
    for path in [*root.glob("usr/bin/*"), *root.glob("usr/sbin/*")]:
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                interpreter = re.match(rb"#! ?/(\S+)", file.readline(200))
            if interpreter and not (root / interpreter[1].decode()).exists():
                path.unlink()


def _merge_usr(root: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        folder = root / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.copytree(folder, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder)
        if (root / "usr" / name).is_dir() and not folder.is_symlink():
            folder.symlink_to(f"usr/{name}")


def _configure(root: Path, architecture: Architecture) -> None:
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "var/run").symlink_to("/run")
    (root / "var/lock").symlink_to("/run/lock")
    (root / "root").chmod(0o700)
    (root / "var/tmp").chmod(0o1777)
    (root / "etc/mtab").symlink_to("/proc/mounts")
    for source in digest.files(GUEST / "root"):
        text = source.read_text(encoding="utf-8").replace("@CONSOLE@", architecture.console)
        target = root / source.relative_to(GUEST / "root")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(0o755 if text.startswith("#!") else 0o644)
    (root / "etc/shadow").chmod(0o600)
    links = {"usr/bin/python3": python.NAME, "usr/bin/sh": "dash"}
    links |= {
        f"usr/sbin/{name}": "../bin/busybox" for name in ("halt", "init", "poweroff", "reboot")
    }
    for link, destination in links.items():
        _remove(root / link)
        (root / link).symlink_to(destination)
    _drop_orphaned_scripts(root)
    for applet in applets(root / "usr/bin/busybox"):
        if not any(
            (root / folder / applet).is_symlink() or (root / folder / applet).exists()
            for folder in ("usr/bin", "usr/sbin")
        ):
            (root / "usr/bin" / applet).symlink_to("busybox")


def applets(busybox: Path) -> list[str]:
    """The commands that a busybox serves, read from its own table of names.

    The names follow each other in the binary, sorted, each ended by a zero byte, `[` first.
    @raise ImageError: there is no such table.
    """
    match = re.search(rb"\0(\[\0\[\[\0(?:[a-z0-9_.-]+\0)+)", busybox.read_bytes())
    names = match[1].decode().split("\0")[:-1] if match else []
    if not {"init", "modprobe", "mount", "syslogd"} <= set(names):
        raise ImageError(f"{busybox.name} lacks commands that the routers need")
    return names


def _prune_modules(modules: Path) -> None:
    kernel = modules / "kernel"
    everything = {str(path.relative_to(kernel)): path for path in kernel.rglob("*.ko")}
    wanted = _listing("modules")
    names = tuple(
        Path(path).stem
        for path in everything
        if any(fnmatch.fnmatch(path, pattern) for pattern in wanted)
    )
    root = modules.parents[3]
    tools.run(["depmod", "-b", root, modules.name], "kmod", purpose="reading dependencies")
    kept = {modules / path for path in initramfs.load_order(modules, names)}
    for path in everything.values():
        if path not in kept:
            path.unlink()
    for folder, _, _ in os.walk(kernel, topdown=False):
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def _listing(name: str) -> list[str]:
    return [line.replace("@PYTHON@", python.NAME) for line in lines(GUEST / name)]


def lines(file: Path) -> list[str]:
    """The lines of a list, without comments."""
    text = file.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
