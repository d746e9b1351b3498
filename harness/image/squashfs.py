"""Read-only file systems, the same bytes for the same tree."""

from __future__ import annotations

from pathlib import Path

from harness.image import tools


def pack(folder: Path, target: Path) -> None:
    """Make a squashfs of a folder; everything in it belongs to root.

    @raise ImageError: the disk is full; @raise MissingToolError: no mksquashfs.
    """
    tools.run(
        [
            *("mksquashfs", folder, target, "-noappend", "-quiet", "-no-progress", "-all-root"),
            *("-no-xattrs", "-comp", "zstd", "-mkfs-time", "0", "-all-time", "0"),
        ],
        "squashfs-tools",
        purpose=f"packing {target.name}",
    )
