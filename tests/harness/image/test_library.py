"""The layer with the library, made from a real wheel of this checkout."""

from __future__ import annotations

import marshal
import shutil
import subprocess
import types
from pathlib import Path

import pytest

import harness
from harness.errors import ImageError
from harness.image import library, python, tools

PROJECT = Path(harness.__file__).parents[1]
PACKAGES = "usr/lib/python3/dist-packages"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small project with the names of this one."""
    for folder in ("paradrop", "harness"):
        (tmp_path / "project" / folder).mkdir(parents=True)
        (tmp_path / "project" / folder / "__init__.py").write_text("")
    (tmp_path / "project/paradrop/daemon.py").write_text("def main() -> None: ...\n")
    for name in ("pyproject.toml", "README.md"):
        if (PROJECT / name).exists():
            shutil.copy(PROJECT / name, tmp_path / "project" / name)
    return tmp_path / "project"


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked layer of this checkout."""
    folder = tmp_path_factory.mktemp("layer")
    facts = library.build(PROJECT, folder, print)
    assert facts["name"] == "paradrop"
    assert facts["wheel"] == f"paradrop-{facts['version']}-py3-none-any.whl"
    assert [path.name for path in folder.iterdir()] == ["library.squashfs"]
    program = tools.find("unsquashfs", "squashfs-tools")
    packed = folder / "library.squashfs"
    subprocess.run(
        [program, "-q", "-n", "-d", folder / "root", packed], check=True, capture_output=True
    )
    return folder / "root"


def test_it_holds_the_library_and_its_metadata_but_not_the_harness(layer: Path) -> None:
    packages = layer / PACKAGES
    names = sorted(path.name.split("-")[0] for path in packages.iterdir())
    assert names == ["paradrop", "paradrop"]
    sources = {str(path.relative_to(PROJECT)) for path in (PROJECT / "paradrop").rglob("*.py")}
    assert {str(path.relative_to(packages)) for path in packages.rglob("*.py")} == sources


def test_its_commands_are_the_routers_alone(layer: Path) -> None:
    assert [path.name for path in (layer / "usr/bin").iterdir()] == ["paradropd"]
    launcher = layer / "usr/bin/paradropd"
    assert launcher.stat().st_mode & 0o777 == 0o755
    assert launcher.read_text().startswith("#!/usr/bin/python3\n")
    assert "from paradrop.daemon import main" in launcher.read_text()


def test_its_byte_code_is_used_unchecked_and_knows_the_routers_paths(layer: Path) -> None:
    sources = list((layer / PACKAGES).rglob("*.py"))
    for source in sources:
        cached = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        data = cached.read_bytes()
        assert data[4:8] == b"\1\0\0\0", "unchecked-hash, PEP 552"
        code = marshal.loads(data[16:])
        assert isinstance(code, types.CodeType)
        assert code.co_filename == f"/{source.relative_to(layer)}"


def test_the_hash_of_its_sources_changes_with_each_of_them(checkout: Path) -> None:
    seen = {library.sources(checkout)}
    for name in ("paradrop/daemon.py", "paradrop/data.txt", "pyproject.toml"):
        with (checkout / name).open("a") as file:
            file.write("\n")
        seen.add(library.sources(checkout))
    (checkout / "paradrop/daemon.py").rename(checkout / "paradrop/demon.py")
    seen.add(library.sources(checkout))
    assert len(seen) == 5


def test_the_hash_of_its_sources_ignores_the_harness_and_byte_code(checkout: Path) -> None:
    before = library.sources(checkout)
    (checkout / "harness/new.py").write_text("x = 1\n")
    (checkout / "paradrop/__pycache__").mkdir()
    (checkout / "paradrop/__pycache__/daemon.cpython-311.pyc").write_bytes(b"x")
    assert library.sources(checkout) == before


def test_code_that_does_not_compile_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def main(:\n")
    with pytest.raises(ImageError, match=r"compiling Python.*\n[^$]*broken\.py"):
        python.compile_tree(tmp_path, [tmp_path])
