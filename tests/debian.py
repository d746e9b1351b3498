"""Gives a Python environment what the library needs as Debian 12 has it.

Debian's packages for this computer are unpacked, not installed, and put on the environment's path:
`python tests/debian.py FOLDER SITE_PACKAGES`. Their extensions use the libraries of this computer,
which has to be a Debian 12, or close to it. What is there
already is kept, unless `requirements/debian-device.txt` has changed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.image import apt, python, root

LIST = Path(__file__).parents[1] / "requirements/debian-device.txt"


def unpack(folder: Path) -> None:
    """Have Debian's Python packages in a folder, whole or not at all."""
    asked = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        tree = Path(scratch) / "root"
        versions = apt.extract(root.lines(LIST), asked.stdout.decode().strip(), tree, print)
        for name in root.lines(LIST):
            print(name, versions[name])
        found = tree / python.PACKAGES
        shutil.copyfile(LIST, found / LIST.name)
        shutil.rmtree(folder, ignore_errors=True)
        found.rename(folder)


def main(folder: Path, site_packages: Path) -> None:
    listed = folder / LIST.name
    if not listed.exists() or listed.read_bytes() != LIST.read_bytes():
        unpack(folder)
    (site_packages / "debian.pth").write_text(f"{folder}\n")


main(*(Path(word).resolve() for word in sys.argv[1:]))
