"""
Files that are either the old ones or the new ones, whole, whatever happens to the power.

After Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014): nothing is relied on but
that `rename(2)` is atomic and that what was synced is there. Until a folder is synced, any of the
names that were made, renamed or removed in it may be there or not.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

TEMPORARY = ".~"
"""How the names of the temporary files begin that a power cut can leave (see `sweep`)."""

JOURNAL_VERSION = 1

LOCK_SECONDS = 10.0

Content = tuple[bytes, int]
"""Data of a file, and its permission bits."""


def write_durably(path: str | os.PathLike[str], data: bytes, mode: int = 0o600) -> None:
    """
    Replace the contents of a file in one step that survives a power cut.

    A temporary file beside it (never readable by others than `mode` allows) is written and synced,
    takes the name by `rename(2)`, and the folder is synced, so that the new name is on the disk
    when this returns. At every moment before, readers and a restart see the old file.

    @param path: the file; its folder must exist. A symbolic link is followed, not replaced.
    @param data: the whole new contents.
    @param mode: permission bits of the file, whatever the umask and the old file had.
    @raise OSError: nothing was changed, and no temporary file is left.
    """
    target = Path(os.path.realpath(path))
    with _temporary(target.parent, data, mode) as temporary:
        temporary.replace(target)
    sync_folder(target.parent)


def write_together(files: Mapping[Path, Content | None], journal: str | os.PathLike[str]) -> None:
    """
    Replace or remove several files in one step that survives a power cut.

    The new files are written beside the old ones and synced; then the journal, which says how they
    are to be renamed, is written durably, and that is the step: from then on `recover` finishes
    what a cut has left undone. Who reads the files after a restart calls it first.

    @param files: the new data and permission bits by path, in the order in which they take effect;
        None removes a file.
    @param journal: path of the journal, which exists only meanwhile; used by one process at a time.
    @raise OSError: nothing was changed. If the journal was there already, the disk has failed
        between two renames, and the next `recover` finishes the step.
    """
    log = Path(os.path.realpath(journal))
    steps: list[tuple[Path | None, Path]] = []
    with ExitStack() as stack:
        for path, content in files.items():
            target = Path(os.path.realpath(path))
            temporary = content and stack.enter_context(_temporary(target.parent, *content))
            steps.append((temporary or None, target))
        _sync_folders(steps)
        try:
            write_durably(log, _journal(steps, log.parent))
        except BaseException:
            log.unlink(missing_ok=True)
            raise
        committed = stack.pop_all()
    with ExitStack() as stack:
        stack.callback(committed.close)  # without an error: the temporary files are the journal's
        _finish(steps, log)


def recover(journal: str | os.PathLike[str]) -> Path | None:
    """
    Finish what `write_together` was doing when the power was cut.

    @return: the name under which a journal that cannot be read was kept for diagnosis; None if
        all is well.
    @raise OSError: it cannot be finished now.
    """
    log = Path(os.path.realpath(journal))
    try:
        data = log.read_bytes()
    except FileNotFoundError:
        return None
    try:
        steps = _steps(data, log.parent)
    except (ValueError, TypeError, LookupError, RecursionError):
        return put_aside(log)
    _finish(steps, log)
    return None


def sync_folder(path: str | os.PathLike[str]) -> None:
    """
    Bring the names in a folder (new, renamed, removed files) to the disk.

    @raise OSError: the folder cannot be opened or synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: str | os.PathLike[str], mode: int = 0o777) -> None:
    """
    Make a folder, and those above it, so that a power cut does not take it and what is then in it.

    @param mode: permission bits of the last one, less the umask; one that exists keeps its own.
    @raise OSError: it cannot be made, or is no folder.
    """
    folder = Path(path)
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(mode, exist_ok=True)
    sync_folder(folder.parent)


def put_aside(path: Path) -> Path:
    """
    Rename a file that is damaged, to keep it for diagnosis.

    @return: its new name, which no other file had.
    @raise OSError: it is where it was.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.invalid-{stamp}")
    number = 1
    while aside.exists():  # a clock that stands still must not cost an earlier finding
        number += 1
        aside = path.with_name(f"{path.name}.invalid-{stamp}-{number}")
    path.replace(aside)
    sync_folder(path.parent)
    return aside


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that a power cut has left in a folder; others stay."""
    try:
        found = [path for path in Path(folder).iterdir() if path.name.startswith(TEMPORARY)]
    except OSError:
        return
    for path in found:
        with suppress(OSError):  # no file, or somebody else has swept it
            _remove_unused(path)


@contextmanager
def locked(folder: str | os.PathLike[str], seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """
    Keep other processes and threads that ask for the same out of a folder. It is not reentrant. In
    a folder that does not exist there is nothing to protect.

    @param seconds: how long to wait for the others.
    @raise TimeoutError: they take longer.
    @raise OSError: the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        deadline = time.monotonic() + seconds
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{folder} has been locked for {seconds:g} s by another process")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _temporary(folder: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A synced file with this data. It is locked against `sweep`, and removed after an error."""
    descriptor, path = _create(folder)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        yield path
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(folder)  # write(2) does not know what it wrote to
        raise
    finally:
        os.close(descriptor)


def _create(folder: Path) -> tuple[int, Path]:
    while True:
        path = folder / f"{TEMPORARY}{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, path
        os.close(descriptor)  # swept before it was locked


def _remove_unused(path: Path) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        if _lock(descriptor):
            path.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _journal(steps: list[tuple[Path | None, Path]], folder: Path) -> bytes:
    """The steps as JSON, with paths relative to the folder, so that a copy of it is good too."""

    def relative(path: Path | None) -> str | None:
        return None if path is None else os.path.relpath(path, folder)

    renames = [[relative(source), relative(target)] for source, target in steps]
    return json.dumps({"version": JOURNAL_VERSION, "renames": renames}).encode()


def _steps(journal: bytes, folder: Path) -> list[tuple[Path | None, Path]]:
    contents = json.loads(journal)
    if contents["version"] != JOURNAL_VERSION:
        raise ValueError(f"a journal of version {contents['version']!r}")
    return [
        (None if source is None else folder / source, folder / target)
        for source, target in contents["renames"]
    ]


def _finish(steps: list[tuple[Path | None, Path]], journal: Path) -> None:
    for source, target in steps:
        if source is None:
            target.unlink(missing_ok=True)
        else:
            with suppress(FileNotFoundError):  # it was renamed before the cut
                source.replace(target)
    _sync_folders(steps)
    journal.unlink()
    sync_folder(journal.parent)


def _sync_folders(steps: list[tuple[Path | None, Path]]) -> None:
    for folder in dict.fromkeys(target.parent for _, target in steps):
        if folder.is_dir():
            sync_folder(folder)
