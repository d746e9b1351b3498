"""Images of all architectures: from the cache, or built if they are not there yet."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import harness
from harness.errors import ImageError, UsageError
from harness.image import ARCHITECTURES, Image, build, root, tools
from harness.image.build import root_key

PROJECT = Path(harness.__file__).parents[1]
LOCK = PROJECT / "requirements/device.lock"
MIB = 1 << 20


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as it is now, should somebody edit the library meanwhile."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("paradrop", "requirements"):
        shutil.copytree(PROJECT / name, copy / name)
    (copy / "harness").mkdir()
    (copy / "harness/__init__.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (PROJECT / name).exists():
            shutil.copy(PROJECT / name, copy / name)
    return copy


@pytest.fixture(scope="module", params=ARCHITECTURES)
def image(request: pytest.FixtureRequest, checkout: Path) -> Image:
    return build(request.param, progress=print, project=checkout)


def listing(squashfs: Path) -> set[str]:
    program = tools.find("unsquashfs", "squashfs-tools")
    done = subprocess.run([program, "-l", squashfs], check=True, capture_output=True, text=True)
    return {line.removeprefix("squashfs-root/") for line in done.stdout.splitlines()}


def test_it_is_small(image: Image) -> None:
    parts = (image.kernel, image.initramfs, image.root, image.library)
    assert image.size == sum(path.stat().st_size for path in parts)
    assert image.size <= 120 * MIB


def test_a_second_build_is_the_same_image(image: Image, checkout: Path) -> None:
    lines: list[str] = []
    assert build(image.arch, progress=lines.append, project=checkout) == image
    assert lines == []


def test_the_manifest_says_what_is_in_it(image: Image) -> None:
    manifest = image.manifest
    assert manifest["architecture"] == image.arch
    assert manifest["key"] == image.key
    assert manifest["kernel"].endswith(image.architecture.kernel.rpartition("-")[2])
    assert manifest["packages"]["dropbear-bin"].startswith("2022.83")
    assert manifest["packages"]["libc6"]
    assert len(manifest["library"]["sha256"]) == 64
    assert set(manifest["files"]) == {"initramfs", "kernel", "library.squashfs", "root.squashfs"}


def test_the_daemon_has_what_it_needs_as_wheels_or_from_debian(image: Image) -> None:
    needs = root.lines(PROJECT / "requirements" / image.architecture.requirements)
    packages, wheels = image.manifest["packages"], image.manifest["wheels"]
    if image.architecture.platforms:
        locked = dict(line.split("==") for line in needs if "==" in line)
        versions = {name: facts["version"] for name, facts in wheels.items()}
        normal = {name.replace("_", "-").replace(".", "-"): one for name, one in versions.items()}
        assert normal == {name: rest.split()[0] for name, rest in locked.items()}
        assert "python3-twisted" not in packages
    else:
        assert wheels == {}
        assert set(needs) <= set(packages)
        assert packages["python3-twisted"].startswith("22.4.0-")
        assert packages["python3-autobahn"].startswith("22.7.1")


def test_the_root_has_what_a_router_needs_and_nothing_of_the_harness(image: Image) -> None:
    names = listing(image.root)
    modules = f"usr/lib/modules/{image.manifest['kernel']}"
    assert {
        "usr/sbin/dropbear",
        "usr/sbin/nft",
        "usr/sbin/tc",
        "usr/sbin/init",
        "usr/bin/python3",
        "usr/sbin/poweroff",
        "usr/libexec/paradrop/supervise",
        "usr/lib/python3/dist-packages/twisted/__pycache__/__init__.cpython-311.pyc",
        "usr/lib/python3.11/__pycache__/typing.cpython-311.pyc",
        f"{modules}/modules.dep",
        f"{modules}/kernel/net/sched/sch_netem.ko",
        f"{modules}/kernel/drivers/net/virtio_net.ko",
    } <= names
    for unwanted in ("usr/share/doc", "usr/share/locale", "usr/bin/perl", "usr/bin/dpkg-query"):
        assert unwanted not in names
    packages = {name.split("/")[4] for name in names if name.count("/") == 4}
    assert not {"paradrop", "harness", "pytest", "crossbar"} & packages


def test_an_unknown_architecture_is_a_clear_error() -> None:
    with pytest.raises(
        UsageError, match=r"no architecture mips \(there are x86_64, aarch64, armhf\)"
    ):
        build("mips")


def test_a_folder_that_is_no_checkout_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is no checkout"):
        build("x86_64", project=tmp_path)


def test_the_key_of_a_root_changes_with_each_of_its_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x86, arm = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"]
    lock = tmp_path / "lock"
    lock.write_text("a==1\n")
    keys = [root_key(x86, lock), root_key(arm, lock)]
    keys.append(root_key(replace(x86, kernel="linux-image-amd64"), lock))
    keys.append(root_key(replace(x86, platforms=x86.platforms[1:]), lock))
    lock.write_text("a==2\n")
    keys.append(root_key(x86, lock))
    monkeypatch.setattr(root, "PACKAGES", (*root.PACKAGES, "strace"))
    keys.append(root_key(x86, lock))
    guest = tmp_path / "guest"
    guest.mkdir()
    monkeypatch.setattr(root, "GUEST", guest)
    for text in ("one", "two"):
        (guest / "rcS").write_text(text)
        keys.append(root_key(x86, lock))
    (guest / "rcS").rename(guest / "rcK")
    keys.append(root_key(x86, lock))
    assert len(set(keys)) == len(keys) == 9


def test_the_key_of_a_root_ignores_how_qemu_is_started(tmp_path: Path) -> None:
    x86 = ARCHITECTURES["x86_64"]
    assert root_key(replace(x86, cpu="max", kernel_arguments=""), LOCK) == root_key(x86, LOCK)
