"""The pytest face: `pytest hil --device qemu-x86_64 --device process --report qualification`.

A suite names what it works with, and gets it: `node`, `device`, `pdid`, `operator`, `host`,
`rejoins`. Each test runs on every device named; what a device has not makes a test not applicable.

It is loaded by every pytest run of the environment, so the harness is imported only when a suite
is run.
"""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest

from harness.errors import HarnessError, UsageError
from harness.plugin import fixtures, marks
from harness.plugin.progress import Progress

LACKS = pytest.StashKey[str]()
"""Why a test does not apply to its device, if it does not."""

DESELECTED = pytest.StashKey[int]()
"""How many tests of the run were left out on purpose."""


_LISTING = ("collectonly", "showfixtures", "show_fixtures_per_test", "markers")
"""Options with which pytest shows something, and runs nothing."""


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
    is_worker = hasattr(config, "workerinput")
    if is_worker:
        from harness.plugin import workers

        workers.mend_channel(config)
    elif config.getoption("dist", "no") != "no":
        from harness.plugin import scheduling, workers

        workers.check_arguments(config)
        config.pluginmanager.register(scheduling.Scheduling(config), "hil-scheduling")
    if config.getoption("--report") is not None:
        runs = not any(config.getoption(name, None) for name in _LISTING)
        _check_report(config, writes=not is_worker and runs)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device_kind" not in metafunc.fixturenames:
        return
    from harness.device import kind_class, label

    params = []
    for kind in chosen(metafunc.config):
        group: list[pytest.MarkDecorator] = []
        if "several" not in kind_class(kind).capabilities:
            group.append(pytest.mark.xdist_group(kind))
        elif "snapshot" not in kind_class(kind).capabilities:
            group.append(pytest.mark.xdist_group(sharing(metafunc.definition, kind)))
        params.append(pytest.param(kind, marks=group, id=label(kind)))
    metafunc.parametrize("device_kind", params, scope="module")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module with a wrong mark is not collected."""
    report = yield
    tests = [node for node in report.result or () if isinstance(node, pytest.Item)]
    wrong = [
        mistake
        for test in tests
        for mistake in marks.mistakes(test, suite=marks.belongs_to_suite(test))
    ]
    if wrong:
        report.outcome, report.result = "failed", []
        report.longrepr = "\n".join(dict.fromkeys(wrong))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput") and session.config.getoption("--report") is not None:
        from harness.plugin import collector, naming, workers

        plan = {naming.full_name(item): collector.unjudged(item) for item in session.items}
        workers.write_plan(session.config, plan)


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        item.config.stash[DESELECTED] = item.config.stash.get(DESELECTED, 0) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    if marks.of_suites(session.config):
        try:
            marks.check_expression(session.config)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["hil_deselected"] = session.config.stash.get(DESELECTED, 0)


def sharing(test: pytest.Item, kind: str) -> str:
    """The name of those tests that have one device in common."""
    own = test.get_closest_marker("own_device") is not None
    return f"{test.path.stem if own else 'shared'}-{kind}"


def chosen(config: pytest.Config) -> list[str]:
    """The kinds of device that the run was asked for."""
    return list(dict.fromkeys(config.getoption("--device") or ["process"]))


def kind_of(test: pytest.Item) -> str | None:
    """The kind of device that a test runs on; None: it uses no device."""
    call = getattr(test, "callspec", None)
    return None if call is None else call.params.get("device_kind")


def _check_report(config: pytest.Config, *, writes: bool) -> None:
    from harness.evidence import keeping

    try:
        config.option.report = keeping.given(config.getoption("--report"))
        if not writes:
            return
        keeping.check(config.option.report)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    from harness.plugin.collector import Collector

    config.pluginmanager.register(Collector(config), "hil-collector")


def _check_kinds(config: pytest.Config) -> None:
    if config.getoption("--device"):
        from harness.device import kind_class, split

        try:
            for kind in chosen(config):
                kind_class(kind).check_host(split(kind)[1])
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[fixtures.STARTED] = time.monotonic()
    kind = kind_of(item)
    if kind is None or not (needs := marks.needs(item)):
        return
    from harness.device import kind_class, label, split

    if missing := kind_class(kind).lacks(split(kind)[1], needs):
        what = ", ".join(f"{need} ({why})" if why else need for need, why in missing.items())
        item.stash[LACKS] = f"{label(kind)} has no {what}"
        skip = pytest.mark.skip(reason=f"not applicable: {item.stash[LACKS]}")
        item.add_marker(skip, append=False)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A test that passes fails all the same if the kernel of a device has panicked meanwhile."""
    yield
    bench = item.config.stash.get(fixtures.BENCH, None)
    if bench is not None and "device_kind" in getattr(item, "fixturenames", ()):
        bench.check_kernels()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if kind_of(item) is not None or item.config.getoption("--report"):
        from harness.plugin import collector

        collector.examine(item, call, report)
    return report
