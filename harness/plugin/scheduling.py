"""How pytest-xdist deals out tests when workers die: each test runs once, and all others run.

Its own schedulers by scope (3.8.0) give the test that ended its worker to the next worker, until
no more workers are allowed. They also count finished tests as work, and give a new worker less
than the two tests that it needs to begin.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import (
    LoadFileScheduling,
    LoadGroupScheduling,
    LoadScheduling,
    LoadScopeScheduling,
    WorkStealingScheduling,
)

AHEAD = 2
"""Tests that a worker must know of: it begins one when it knows the next."""


class Progress:
    """Which tests have begun, and which have ended."""

    def __init__(self) -> None:
        self.begun: set[str] = set()
        self.ended: set[str] = set()


class _ByScope:
    """Corrects the schedulers that deal out scopes: files, classes or groups."""

    progress: Progress
    assigned_work: Any
    collection: Any
    registered_collections: Any
    workqueue: Any
    _assign_work_unit: Any
    _pending_of: Any

    def remove_node(self, node: Any) -> str | None:
        """@return: the test that the worker was running, if it died of one."""
        workload = self.assigned_work.pop(node)
        if self.collection is None:  # nothing was dealt out: the worker doesn't count any more
            self.registered_collections.pop(node, None)
        crashed = self._close(workload)
        for scope in reversed(list(workload)):
            left = {test: False for test, done in workload[scope].items() if not done}
            if left:
                self.workqueue[scope] = left
                self.workqueue.move_to_end(scope, last=False)
        for each in self.assigned_work:
            self._reschedule(each)
        return crashed

    def _close(self, workload: dict[str, dict[str, bool]]) -> str | None:
        """Cross off the test that was being run, unless the worker died before it began."""
        for unit in workload.values():
            for test, done in unit.items():
                if done:
                    continue
                unit[test] = test in self.progress.begun
                lost = unit[test] and test not in self.progress.ended
                return test if lost else None
        return None

    def add_node_collection(self, node: Any, collection: Any) -> None:
        super().add_node_collection(node, collection)  # type: ignore[misc]
        if node not in self.registered_collections:  # it has found other tests than the others
            node.shutdown()

    def _reschedule(self, node: Any) -> None:
        if node.shutting_down or node not in self.registered_collections:
            return
        if self.workqueue and self._pending_of(self.assigned_work[node]) <= AHEAD:
            self._assign_work_unit(node)
        while self.workqueue and self._pending_of(self.assigned_work[node]) < AHEAD:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()


class _ByTest:
    """Corrects the schedulers that deal out tests one by one."""

    progress: Progress
    collection: Any
    mark_test_pending: Any
    node2collection: Any

    def remove_node(self, node: Any) -> str | None:
        """@return: the test that the worker was running, if it died of one."""
        if self.collection is None:
            self.node2collection.pop(node, None)
        crashed: str | None = super().remove_node(node)  # type: ignore[misc]
        if crashed is not None and crashed not in self.progress.begun:
            self.mark_test_pending(crashed)
            return None
        return None if crashed in self.progress.ended else crashed


class _Scope(_ByScope, LoadScopeScheduling): ...  # type: ignore[misc]


class _File(_ByScope, LoadFileScheduling): ...  # type: ignore[misc]


class _Group(_ByScope, LoadGroupScheduling): ...  # type: ignore[misc]


class _Load(_ByTest, LoadScheduling): ...  # type: ignore[misc]


class _Steal(_ByTest, WorkStealingScheduling): ...  # type: ignore[misc]


SCHEDULERS: dict[str, type[_ByScope] | type[_ByTest]] = {
    "loadscope": _Scope,
    "loadfile": _File,
    "loadgroup": _Group,
    "load": _Load,
    "worksteal": _Steal,
}


class Scheduling:
    """Registered where the run is controlled, not in the workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._progress = Progress()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        made = SCHEDULERS.get(config.getvalue("dist"))
        if made is None:
            return None
        scheduler: Any = made(config, log)  # type: ignore[call-arg]
        scheduler.progress = self._progress
        return scheduler

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._progress.begun.add(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self._progress.ended.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self) -> None:
        """Allow one more worker: this one took a test with it, so that it can't go on for ever."""
        session = self._config.pluginmanager.get_plugin("dsession")
        if self._config.getoption("maxworkerrestart") is None and session is not None:
            session._max_worker_restart += 1
