"""A durable write leaves the old file or the new one, whole, and nothing beside it."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from paradrop.base.durable import make_folder, recover, sync_folder, write_durably


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_writes_a_new_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_durably(path, b"secret")
    assert path.read_bytes() == b"secret"
    assert mode_of(path) == 0o600
    assert names(tmp_path) == ["key"]


def test_replaces_a_file_and_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"a longer old content")
    path.chmod(0o600)
    old_umask = os.umask(0o077)
    try:
        write_durably(str(path), b"new", mode=0o644)
    finally:
        os.umask(old_umask)
    assert path.read_bytes() == b"new"
    assert mode_of(path) == 0o644


def test_follows_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = tmp_path / "real" / "config"
    path.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(path)
    write_durably(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_missing_folder_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write_durably(tmp_path / "nowhere" / "file", b"")


def test_a_failed_replacement_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_durably(path, b"data")
    assert names(tmp_path) == ["taken"]


def test_the_data_and_the_name_are_synced_in_that_order(tmp_path: Path) -> None:
    """Only a cut of the power would show a missing sync, so the calls themselves are watched."""
    calls: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        calls.append(f"fsync {kind}")
        real_fsync(descriptor)

    def replace(source: str, target: Path) -> None:
        calls.append("replace")
        real_replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "replace", replace)
        write_durably(tmp_path / "state", b"new")
    assert calls == ["fsync file", "replace", "fsync folder"]


def test_a_reader_sees_one_whole_version_while_a_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    versions = {b"a" * 100_000, b"b" * 200_000}
    write_durably(path, min(versions))
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from paradrop.base.durable import write_durably\n"
            "while True:\n"
            "    write_durably(sys.argv[1], b'a' * 100_000)\n"
            "    write_durably(sys.argv[1], b'b' * 200_000)\n"
            "    print('turn', flush=True)\n",
            str(path),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert writer.stdout is not None
        for _ in range(5):
            assert writer.stdout.readline()
            assert path.read_bytes() in versions
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert path.read_bytes() in versions


def test_sync_folder_refuses_what_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sync_folder(tmp_path)
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")


def test_a_folder_is_made_with_those_above_it_and_keeps_its_mode(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c", 0o700)
    assert mode_of(tmp_path / "a" / "b" / "c") == 0o700
    make_folder(tmp_path / "a" / "b" / "c", 0o755)
    assert mode_of(tmp_path / "a" / "b" / "c") == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_a_recovery_does_not_mind_a_folder_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    renames = '[["gone/.~1", "gone/key"], [".~2", "state"]]'
    (tmp_path / "journal").write_text(f'{{"version": 1, "renames": {renames}}}')
    (tmp_path / ".~2").write_text("new")
    (tmp_path / "gone").rmdir()
    assert recover(tmp_path / "journal") is None
    assert (tmp_path / "state").read_text() == "new"
    assert names(tmp_path) == ["state"]
