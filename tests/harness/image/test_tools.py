"""Programs that a build runs, and what is said when they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.errors import ImageError, MissingToolError
from harness.image import python, tools


def test_output_comes_back_and_input_goes_in() -> None:
    assert tools.run(["cat"], "coreutils", purpose="reading", stdin="text\n") == "text\n"
    assert tools.run(["cat"], "coreutils", purpose="reading") == ""


def test_a_failure_says_what_could_not_be_done_and_why() -> None:
    with pytest.raises(ImageError) as caught:
        tools.run(["sh", "-c", "echo because >&2; exit 3"], "dash", purpose="packing root")
    assert str(caught.value) == "packing root: sh ended with status 3\nbecause"


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("write failed: No space left on device", "the disk is full"),
        ("Temporary failure resolving 'deb.debian.org'", "the Debian mirror can't be reached"),
    ],
)
def test_failures_with_a_known_cure_name_it(output: str, hint: str) -> None:
    with pytest.raises(ImageError, match=hint):
        tools.run(["sh", "-c", f'echo "{output}"; exit 1'], "dash", purpose="packing")


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(MissingToolError, match=r"mksquash9 .*apt-get install squashfs-tools"):
        tools.run(["mksquash9"], "squashfs-tools", purpose="packing")


def test_programs_of_root_are_found_by_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert Path(tools.find("mke2fs", "e2fsprogs")).name == "mke2fs"


def test_another_python_than_the_routers_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert python.interpreter() == sys.executable
    monkeypatch.setattr(python, "VERSION", (3, 99))
    monkeypatch.setattr(python, "NAME", "python3.99")
    with pytest.raises(ImageError, match=r"routers run python3\.99.*apt-get install python3\.99"):
        python.interpreter()
