"""The suites bite: each of them is red where the library does what it must not do.

The library is copied and damaged, and suites run on its daemon, in a pytest of their own. Several
damages share a copy, as long as none of them reaches the test of another.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import textwrap
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

import harness
from harness.node import crossbar

PROJECT = Path(harness.__file__).parents[1]
LIMIT = 550

pytestmark = pytest.mark.timeout(LIMIT + 50)


@dataclass(frozen=True)
class Sabotage:
    """A damage of the library, and the tests that have to notice it.

    @ivar module: what gets more lines, below `paradrop/`. @ivar lines: those.
    @ivar tests: of `hil/`. @ivar says: a part of what each of them says when it fails.
    """

    module: str
    lines: str
    tests: tuple[str, ...]
    says: str


FILES: Mapping[str, Sabotage] = {
    "keys that anybody may read": Sabotage(
        "base/identity.py",
        """
        _content = key_content
        def key_content(key):
            return _content(key)[0], 0o644
        """,
        (
            "test_on_device.py::test_keys[by itself-process]",
            "test_on_device.py::test_keys[by hand-process]",
        ),
        "'644' == '600'",
    ),
    "a configuration that anybody may change": Sabotage(
        "base/identity.py",
        "MODE = 0o666",
        (
            "test_on_device.py::test_configuration[by itself-process]",
            "test_on_device.py::test_configuration[by hand-process]",
        ),
        "it has mode 666",
    ),
    "a log that anybody may read": Sabotage(
        "base/logdaily.py",
        "_FILE_MODE = 0o666",
        ("test_on_device.py::test_log_file[process]",),
        "it has mode 644",
    ),
    "a log that is never rotated": Sabotage(
        "base/logdaily.py",
        "DailyFile._turn_over = lambda self, day, replace=False: None",
        ("test_logging.py::test_a_log_of_yesterday_gets_its_date[process]",),
        "it has no date",
    ),
    "an identity that is forgotten": Sabotage(
        "daemon/router.py",
        """
        _start = RouterDaemon.onStart
        def _forget(self):
            if provisioning.read_batch() is not None:
                self.deprovision()
            _start(self)
        RouterDaemon.onStart = _forget
        """,
        ("test_provisioning.py::test_once_and_for_all[process]",),
        "assert 2 == 1",
    ),
    "a daemon that is not the one that is installed": Sabotage(
        "daemon/session.py",
        """
        _status = RouterSession.status
        RouterSession.status = lambda self, *rest: _status(self, *rest) | {"version": "0.0.1"}
        """,
        ("test_on_device.py::test_installed_version[process]",),
        "'0.0.1' == ",
    ),
    "a token in the log": Sabotage(
        "daemon/provisioning.py",
        """
        def check(answer):
            out.info(f"the answer is {answer}")
            return Identity(answer["pdid"], answer["router"], answer["token"])
        """,
        ("test_provisioning.py::test_no_secret_in_the_log[process]",),
        "['token'] == []",
    ),
}

BEHAVIOUR: Mapping[str, Sabotage] = {
    "folders that anybody may enter": Sabotage(
        "base/settings.py",
        """
        def _make_folders():
            for folder in (LOG_DIR, MISC_DIR, KEY_DIR):
                os.makedirs(folder, 0o755, exist_ok=True)
        """,
        ("test_on_device.py::test_folders[process]",),
        "has mode 755",
    ),
    "a log without a bound": Sabotage(
        "base/logdaily.py",
        'DailyFile._limit = lambda self: float("inf")',
        ("test_logging.py::test_the_log_takes_no_more_room_than_it_may[process]",),
        "<= 1048576",
    ),
    "a page that lacks a record": Sabotage(
        "daemon/logpages.py",
        """
        _read = read
        def read(*arguments):
            page = _read(*arguments)
            del page["records"][2:3]
            return page
        """,
        ("test_logging.py::test_logs_over_wamp_equal_the_file[process]",),
        "At index 2 diff",
    ),
    "a router that is hammered": Sabotage(
        "base/connection.py",
        "BaseClientFactory.maxDelay = property(lambda self: 0.5, lambda self, delay: None)",
        (
            "test_provisioning.py::test_wrong_batch_key[process]",
            "test_provisioning.py::test_revoked[process]",
        ),
        "> 30",
    ),
    "a second connection a moment later": Sabotage(
        "daemon/session.py",
        """
        class _Second(RouterSession):
            def onJoin(self, details):
                pass
        _join = RouterSession.onJoin
        def _twice(self, details):
            from twisted.internet import reactor
            router = nexus.core.info.wampRouter
            reactor.callLater(0.8, _Second.start, router, self.pdid, reconnect=False)
            return _join(self, details)
        RouterSession.onJoin = _twice
        """,
        ("test_reconnect.py::test_session_killed_by_the_operator[process]",),
        "joined again",
    ),
}

LIBRARIES = {"files": FILES, "behaviour": BEHAVIOUR}


class Library:
    """A copy of the library, in a Python environment that has it in place of this checkout's."""

    def __init__(self, folder: Path, sabotages: Mapping[str, Sabotage]) -> None:
        self._folder = folder
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "paradrop", folder / "library/paradrop", ignore=left_out)
        for name, each in sabotages.items():
            with (folder / "library/paradrop" / each.module).open("a") as module:
                module.write(f"\n# {name}\n{textwrap.dedent(each.lines)}\n")
        venv.create(folder / "venv", symlinks=True)
        self._python = folder / "venv/bin/python"
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        path = folder / f"venv/lib/{version}/site-packages/library.pth"
        rest = "; ".join(f"site.addsitedir({each!r})" for each in site.getsitepackages())
        path.write_text(f"{folder / 'library'}\nimport site; {rest}\n")
        command = folder / "venv/bin/paradropd"
        command.write_text(f'#!/bin/sh\nexec {self._python} -P -m paradrop "$@"\n')
        command.chmod(0o755)
        (folder / "venv/bin/crossbar").symlink_to(crossbar.find())

    def run(self, tests: list[str]) -> dict[str, str]:
        """@return: of each test what it said when it failed; nothing if it passed."""
        ours = ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "PYTHONPATH")
        junit = self._folder / "junit.xml"
        done = subprocess.run(
            [self._python, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            + [f"--junitxml={junit}", "-o", "junit_family=xunit1"]
            + [f"hil/{test}" for test in tests],
            cwd=PROJECT,
            env={name: value for name, value in os.environ.items() if name not in ours},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode in (0, 1), done.stdout
        found = {}
        for case in ElementTree.parse(junit).iter("testcase"):
            name = f"{Path(case.attrib['file']).name}::{case.attrib['name']}"
            bad = [*case.iter("failure"), *case.iter("error")]
            found[name.partition("@")[0]] = "".join(each.text or "" for each in bad)
        assert set(tests) <= set(found), done.stdout
        return found


@pytest.fixture(scope="module", params=LIBRARIES)
def damaged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Mapping[str, Sabotage], dict[str, str]]:
    """The sabotages of a copy, and what its tests say."""
    sabotages = LIBRARIES[request.param]
    library = Library(tmp_path_factory.mktemp("damaged"), sabotages)
    return sabotages, library.run([test for each in sabotages.values() for test in each.tests])


def test_each_sabotage_is_noticed(
    damaged: tuple[Mapping[str, Sabotage], dict[str, str]],
) -> None:
    sabotages, said = damaged
    unnoticed = [
        f"{name}: {test}: {said[test] or 'it passes'}"
        for name, each in sabotages.items()
        for test in each.tests
        if each.says not in said[test]
    ]
    assert not unnoticed, "\n\n".join(unnoticed)


def test_nothing_is_noticed_where_nothing_is_wrong(tmp_path: Path) -> None:
    """So it is the sabotage that makes those tests red, and not the way they are run here."""
    tests = [test for all_of in LIBRARIES.values() for one in all_of.values() for test in one.tests]
    said = Library(tmp_path, {}).run(tests)
    assert {test: text for test, text in said.items() if text} == {}
