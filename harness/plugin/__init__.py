"""The pytest face: `pytest hil --device qemu-x86_64 --device process --report qualification`.

A suite names what it works with, and gets it: `node`, `device`, `pdid`, `operator`, `host`,
`rejoins`. Each test runs on every device named; what a device has not makes a test not applicable.

It is loaded by every pytest run of the environment, so the harness is imported only when a suite
is run.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from harness.plugin import fixtures
from harness.plugin.progress import Progress


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hil", "hardware in the loop")
    group.addoption(
        "--device",
        action="append",
        metavar="KIND",
        help="kind of device to run on, repeatable: process (default), qemu-x86_64, qemu-aarch64, "
        "qemu-armhf, vagrant, labgrid:PLACE, file:ROUTER.yaml",
    )
    group.addoption(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="write report.html, junit.xml and result.json there, and the evidence of failures",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): what the device must be able to do")
    config.addinivalue_line("markers", "fresh: the test gets a device that no test had before")
    config.addinivalue_line("markers", "own_device: a module that shares its device with no other")
    config.addinivalue_line("markers", "long: takes minutes, mostly of waiting; is started first")
    config.addinivalue_line("markers", "smoke: part of the quick look at every device")
    # not before now, so that `host` is ours and not the one of testinfra's own plugin
    config.pluginmanager.register(fixtures, "hil-fixtures")
    config.pluginmanager.register(Progress(), "hil-progress")
    _check_kinds(config)
    if config.getoption("--report") and not hasattr(config, "workerinput"):
        from harness.plugin.collector import Collector

        config.pluginmanager.register(Collector(config), "hil-collector")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device_kind" not in metafunc.fixturenames:
        return
    from harness.device import kind_class, label, split

    needs = {need for mark in metafunc.definition.iter_markers("needs") for need in mark.args}
    params = []
    for kind in chosen(metafunc.config):
        missing = kind_class(kind).lacks(split(kind)[1], needs)
        marks: list[pytest.MarkDecorator] = []
        if "several" not in kind_class(kind).capabilities:
            marks.append(pytest.mark.xdist_group(kind))
        elif "snapshot" not in kind_class(kind).capabilities:
            marks.append(pytest.mark.xdist_group(sharing(metafunc.definition, kind)))
        if missing:
            what = ", ".join(f"{need} ({why})" if why else need for need, why in missing.items())
            reason = f"not applicable: {label(kind)} has no {what}"
            marks.append(pytest.mark.skip(reason=reason))
        params.append(pytest.param(kind, marks=marks, id=label(kind)))
    metafunc.parametrize("device_kind", params, scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def sharing(test: pytest.Item, kind: str) -> str:
    """The name of those tests that have one device in common."""
    own = test.get_closest_marker("own_device") is not None
    return f"{test.path.stem if own else 'shared'}-{kind}"


def chosen(config: pytest.Config) -> list[str]:
    """The kinds of device that the run was asked for."""
    return list(dict.fromkeys(config.getoption("--device") or ["process"]))


def _check_kinds(config: pytest.Config) -> None:
    if config.getoption("--device"):
        from harness.device import kind_class, split
        from harness.errors import HarnessError

        try:
            for kind in chosen(config):
                kind_class(kind).check_host(split(kind)[1])
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[fixtures.STARTED] = time.monotonic()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A test that passes fails all the same if the kernel of a device has panicked meanwhile."""
    yield
    bench = item.config.stash.get(fixtures.BENCH, None)
    if bench is not None and "device_kind" in getattr(item, "fixturenames", ()):
        bench.check_kernels()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if "device_kind" in getattr(item, "fixturenames", ()):
        from harness.plugin import collector

        collector.examine(item, call, report)
    return report
