"""A mistake in the description of an image is one line that names the file and the key."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.device.file import description, disk, qemu
from harness.device.file.description import Firmware
from harness.device.file.shell import asked
from harness.errors import UsageError

GOOD = """\
image: file
architecture: x86_64
disk: router.img
memory: 128
console: {prompt: '# ', login: root, password_file: secret}
network: {mgmt: eth0, wan: eth1}
library: install
"""

Load = Callable[[str], Firmware]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Reads a description whose files are there."""
    for name in ("router.img", "kernel", "initrd"):
        (tmp_path / name).write_bytes(bytes(1024))
    (tmp_path / "secret").write_text("open sesame\n")
    (tmp_path / "secret").chmod(0o600)

    def load(text: str) -> Firmware:
        path = tmp_path / "router.yaml"
        path.write_text(text)
        return description.load(path)

    return load


def test_what_is_read(load: Load, tmp_path: Path) -> None:
    found = load(GOOD)
    assert found.disk == tmp_path / "router.img"
    assert found.files == [found.disk]
    assert (found.memory, found.library, found.architecture.name) == (128, "install", "x86_64")
    assert (found.console.login, found.console.password) == ("root", "open sesame")
    assert (found.network.mgmt, found.network.wan, found.network.addresses) == (
        "eth0",
        "eth1",
        "set",
    )


def test_a_kernel_and_its_root(load: Load, tmp_path: Path) -> None:
    found = load(GOOD.replace("disk:", "kernel: kernel\ninitrd: initrd\nappend: quiet\nroot:"))
    assert found.files == [tmp_path / name for name in ("router.img", "kernel", "initrd")]
    assert found.append == "quiet"


def test_a_prompt_may_refer_to_its_own_groups(load: Load) -> None:
    found = load(GOOD.replace("'# '", r"'(a|b)(c|d)\2\1# '"))
    assert asked(found.console.pattern).search("accd# ") is None
    assert asked(found.console.pattern).search("adda# ") is not None


def test_no_password_is_shown(load: Load) -> None:
    assert "sesame" not in repr(load(GOOD))


def test_a_password_of_the_environment(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD.replace("password_file: secret", "password_variable: HIL_TEST_PASSWORD")
    monkeypatch.delenv("HIL_TEST_PASSWORD", raising=False)
    with pytest.raises(UsageError, match="the variable HIL_TEST_PASSWORD is not set"):
        load(text)
    monkeypatch.setenv("HIL_TEST_PASSWORD", "open sesame")
    assert load(text).console.password == "open sesame"


def test_a_password_that_others_may_read(load: Load, tmp_path: Path) -> None:
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(UsageError, match=r"others may read .*/secret \(chmod 600"):
        load(GOOD)
    with pytest.raises(UsageError, match="others may read the password in it"):
        load(GOOD.replace("password_file: secret", "password: sesame"))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("image: file", "image: [", "no YAML: line"),
        ("image: file", "image: disk", "image is 'disk' .write `image: file`"),
        ("memory: 128", "memroy: 128", "unknown key memroy .there are image, architecture"),
        ("login: root", "user: root", "unknown key console.user"),
        ("architecture: x86_64", "architecture: mips", "architecture is 'mips' .there are x86_64"),
        ("architecture: x86_64\n", "", "architecture is missing"),
        ("router.img", "nowhere.img", "disk: there is no file .*/nowhere.img"),
        ("disk: router.img\n", "", "there is neither disk nor kernel"),
        ("disk: router.img", "root: router.img", "root without kernel"),
        ("disk:", "root: router.img\nkernel: kernel\ndisk:", "it has both disk and root"),
        ("memory: 128", "memory: 128M", "memory is '128M' .a number of MiB, 32 to 8192"),
        ("memory: 128", "memory: true", "memory is True"),
        ("'# '", "'# ('", "console.prompt is no regular expression"),
        ("'# '", "'.*'", "console.prompt matches nothing at all"),
        ("'# '", "'(?i)# '", "console.prompt is no regular expression: global flags not at the"),
        ("'# '", "'(?P<login>r)# '", "console.prompt is no regular expression: redefinition"),
        ("prompt: '# ', ", "", "prompt is missing"),
        ("network: {mgmt: eth0, wan: eth1}\n", "", "network is missing"),
        ("wan: eth1", "wan: 'eth1; reboot'", "network.wan is 'eth1; reboot'"),
        ("wan: eth1", "wan: eth1, addresses: some", "addresses is 'some' .there are dhcp, set"),
        ("library: install", "library: yes", "library is True .there are install, installed"),
        ("login: root", "login: 7", "login is no text .put it in quotes"),
        ("login: root", "password: ''", "console has both password and password_file"),
    ],
)
def test_a_mistake_is_one_line(load: Load, tmp_path: Path, old: str, new: str, why: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError, match=why) as raised:
        load(GOOD.replace(old, new))
    said = str(raised.value)
    assert str(tmp_path / "router.yaml") in said
    assert "\n" not in said


def test_no_description_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.yaml: can't be read: No such file"):
        description.load(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- file\n")
    with pytest.raises(UsageError, match="no keys in it"):
        description.load(tmp_path / "list.yaml")


def test_nothing_boots_a_disk_on_32_bits(load: Load) -> None:
    text = GOOD.replace("x86_64", "armhf")
    with pytest.raises(UsageError, match=r"nothing boots a disk on armhf \(name a kernel"):
        qemu.efi(load(text))
    assert qemu.efi(load(text.replace("disk:", "kernel: kernel\nroot:"))) is None


def qcow2(path: Path) -> Path:
    """A qcow2 disk of 8 MiB with something in it."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"\x55" * (1 << 20) + bytes(7 << 20))
    words = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)]
    subprocess.run(words, check=True)
    return path


def test_a_good_disk(tmp_path: Path) -> None:
    raw = tmp_path / "raw.img"
    raw.write_bytes(bytes(510) + b"\x55\xaa" + bytes(4096))
    assert disk.inspect(raw, boots=True) == "raw"
    assert disk.inspect(qcow2(tmp_path / "disk.qcow2"), boots=True) == "qcow2"


def test_a_damaged_disk_is_said_to_be(tmp_path: Path) -> None:
    path = qcow2(tmp_path / "disk.qcow2")
    whole = path.read_bytes()
    path.write_bytes(b"nothing" + whole[7:])
    with pytest.raises(UsageError, match=r"disk.qcow2 is damaged: .*\(copy it again"):
        disk.inspect(path, boots=True)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"disk.qcow2 is damaged") as raised:
        disk.inspect(path, boots=True)
    assert "\n" not in str(raised.value)


def test_a_packed_disk_is_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "openwrt.img.gz"
    path.write_bytes(b"\x1f\x8b\x08" + bytes(600))
    with pytest.raises(UsageError, match=r"is packed with gzip \(gunzip it first\)"):
        disk.inspect(path, boots=True)


def test_what_no_pc_boots_from(tmp_path: Path) -> None:
    path = tmp_path / "root.ext4"
    path.write_bytes(bytes(4096))
    with pytest.raises(UsageError, match=r"is no disk that a PC boots from \(name the"):
        disk.inspect(path, boots=True)
    assert disk.inspect(path, boots=False) == "raw"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="is damaged: it is empty"):
        disk.inspect(path, boots=False)


def test_an_overlay_keeps_what_is_written_to_itself(tmp_path: Path) -> None:
    base, over = qcow2(tmp_path / "disk.qcow2"), tmp_path / "over.qcow2"
    before = base.read_bytes()
    disk.overlay(base, "qcow2", over)
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", str(over)], check=True)
    assert base.read_bytes() == before
    assert over.stat().st_mode & 0o077 == 0
