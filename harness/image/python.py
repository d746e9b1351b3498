"""The guest's Python: wheels for its architecture and byte code, made without running it.

Byte code is portable between architectures but not between minor versions, so the host needs
the interpreter of the version that the router has. `unchecked-hash` files (PEP 552) are used
without a look at the source's time, which a squashfs does not keep in full.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from email.parser import HeaderParser
from pathlib import Path

from harness.errors import ImageError, MissingToolError
from harness.image import tools
from harness.image.architecture import Architecture

VERSION = (3, 11)
"""Python of the Debian release that the routers run."""

NAME = f"python{VERSION[0]}.{VERSION[1]}"
PACKAGES = Path("usr/lib/python3/dist-packages")
"""Where Debian's Python looks for packages, below the root."""


def interpreter() -> str:
    """The host's Python of the guest's minor version.

    @raise ImageError: there is none.
    """
    if sys.version_info[:2] == VERSION:
        return sys.executable
    try:
        return tools.find(NAME, NAME)
    except MissingToolError as error:
        raise ImageError(
            f"the routers run {NAME}, and only the same version can compile for them",
            hint=f"apt-get install {NAME}, or run the harness itself with {NAME}",
        ) from error


def compile_tree(root: Path, folders: Sequence[Path]) -> None:
    """Compile folders below `root` as the guest will see them."""
    tools.run(
        [
            *(interpreter(), "-m", "compileall", "-q", "-j0"),
            *("--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/"),
            *folders,
        ],
        NAME,
        purpose="compiling Python for the routers",
    )


def download(
    architecture: Architecture, lock: Path, folder: Path, version: tuple[int, int] = VERSION
) -> None:
    """Fetch the wheels of a lock for a router's architecture, each checked against its hash.

    @param version: of the Python that will use them.
    """
    platforms = [f"--platform={tag}" for tag in architecture.platforms]
    tools.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", f"--python-version={version[0]}.{version[1]}", *platforms),
            *("--dest", folder, "--requirement", lock),
        ],
        NAME,
        purpose=f"fetching wheels for {architecture.name}",
    )


def wheel_of(project: Path, folder: Path) -> Path:
    """Build the wheel that a release of the project would ship."""
    tools.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--wheel-dir", folder, project),
        ],
        NAME,
        purpose="building the wheel of the library",
    )
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, root: Path, *, without: tuple[str, ...] = ()) -> tuple[str, str]:
    """Unpack a pure or binary wheel below `root`.

    @param without: top-level folders of it to leave out.
    @return: name and version of the distribution.
    """
    name, version = "", ""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            parts = member.split("/")
            if parts[0] in without:
                continue
            if len(parts) == 2 and parts[0].endswith(".dist-info") and parts[1] == "METADATA":
                metadata = HeaderParser().parsestr(archive.read(member).decode())
                name, version = metadata["Name"], metadata["Version"]
            archive.extract(member, root / PACKAGES)
    return name, version
