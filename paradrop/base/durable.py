"""A file that is either the old one or the new one, whole, whatever happens to the power."""

import os
import tempfile
from pathlib import Path


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
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


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
