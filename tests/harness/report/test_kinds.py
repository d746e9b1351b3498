"""The table of kinds of device and suites: what it counts, and that it stays a table."""

from __future__ import annotations

import re
from dataclasses import replace

from samples import HOSTILE, mixed, passing

from harness.evidence.results import Verdict
from harness.report.kinds import kinds


def rows(text: str) -> dict[str, list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return {head.replace("\\", ""): rest for head, *rest in cells}


def test_it_counts_what_passed() -> None:
    found = rows(kinds([passing(3)]))
    assert found["device"] == ["logging", "on_device", "provisioning", "reconnect"]
    assert found["qemu-aarch64"] == ["8 passed", "10 passed", "8 passed", "10 passed"]
    assert len(found) == 2 + 3


def test_what_does_not_apply_has_its_reason_below() -> None:
    result = passing(2)
    tests = list(result.tests)
    device = tests[0].device
    for index, why in ((0, f"{device} has no power"), (2, "no power"), (4, "no |clock|")):
        tests[index] = replace(tests[index], verdict=Verdict.NOT_APPLICABLE, message=why)
    text = kinds([replace(result, tests=tuple(tests))])
    (cell,) = [c for row in rows(text).values() for c in row if "applicable" in c]
    assert cell == "5 passed, 3 not applicable: see 1, 2"
    assert text.endswith("\n1. no power\n2. no \\|clock\\|\n")


def test_failures_and_errors_are_named() -> None:
    found = " ".join(cell for row in rows(kinds([mixed(2)])).values() for cell in row)
    assert sum(int(count) for count in re.findall(r"(\d+) failed", found)) == 2
    assert "1 boot error" in found
    assert "1 infrastructure error" in found


def test_of_two_runs_the_later_counts_and_both_are_there() -> None:
    older, newer = mixed(2), replace(passing(1), started=passing(1).started + 1)
    found = rows(kinds([newer, older]))
    assert found["qemu-x86_64"] == rows(kinds([newer]))["qemu-x86_64"]
    assert found["qemu-aarch64"] == rows(kinds([older]))["qemu-aarch64"]


def test_rows_are_in_the_order_of_the_folders_without_their_paths() -> None:
    first, second = passing(1), passing(2)
    board = "file:/home/somebody/router.yaml"
    tests = tuple(replace(test, device=board) for test in first.tests)
    devices = (replace(first.devices[0], name=board),)
    first = replace(first, tests=tests, devices=devices, started=second.started + 1)
    heads = ["device", "---", "file:router.yaml", *(each.name for each in second.devices)]
    assert list(rows(kinds([first, second]))) == heads


def test_a_suite_that_did_not_run_there_is_a_dash() -> None:
    result = passing(2)
    tests = tuple(t for t in result.tests if (t.device, t.suite) != ("qemu-aarch64", "logging"))
    assert rows(kinds([replace(result, tests=tests)]))["qemu-aarch64"][0] == "-"


def test_no_text_of_a_router_leaves_its_cell() -> None:
    text = kinds([mixed(2, HOSTILE + "\n| `x` |")])
    assert len({line.count("|") - line.count("\\|") for line in text.splitlines()[:4]}) == 1
    assert "\n| `x`" not in text
    assert "<script" not in text.replace("\\<", "")
