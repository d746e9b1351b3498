"""The result of a run survives its file, and its verdict never flatters."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError, ResultError
from harness.evidence.results import (
    DeviceInfo,
    EvidenceFile,
    Measurement,
    RunResult,
    RunVerdict,
    TestResult,
    Verdict,
    run_verdict,
)

# Console output may hold any code point; a lone surrogate is what undecodable bytes become.
texts = st.text(st.characters(exclude_categories=()), max_size=20)
facts = st.dictionaries(texts, texts, max_size=3)
seconds = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
tests = st.builds(
    TestResult,
    id=texts,
    suite=texts,
    title=texts,
    device=texts,
    verdict=st.sampled_from(Verdict),
    seconds=seconds,
    message=texts,
    details=texts,
    evidence=st.lists(st.builds(EvidenceFile, texts, texts, texts), max_size=2).map(tuple),
    measurements=st.lists(st.builds(Measurement, texts, seconds, texts), max_size=2).map(tuple),
)
runs = st.builds(
    RunResult,
    started=seconds,
    finished=seconds,
    command=texts,
    verdict=st.sampled_from(RunVerdict),
    devices=st.lists(st.builds(DeviceInfo, texts, texts, facts), max_size=3).map(tuple),
    versions=facts,
    tests=st.lists(tests, max_size=3).map(tuple),
    host=facts,
    problem=texts,
)

ROUTER = DeviceInfo("qemu-x86_64", "x86_64")
ARM = DeviceInfo("qemu-aarch64", "aarch64")


def ended(verdict: Verdict, device: DeviceInfo = ROUTER) -> TestResult:
    return TestResult("hil/test_a.py::test_b", "a", "B holds", device.name, verdict, 1.0)


def run(*results: TestResult) -> RunResult:
    return RunResult(1.0, 2.0, "pytest", RunVerdict.PASSED, (ROUTER, ARM), {}, results, {})


@given(runs)
def test_a_result_survives_its_json(result: RunResult) -> None:
    assert RunResult.from_json(result.to_json()) == result


@given(runs)
def test_json_is_plain_ascii_text_of_schema_1(result: RunResult) -> None:
    text = result.to_json()
    assert text.isascii()
    assert json.loads(text)["schema"] == 1


def test_an_unknown_schema_is_refused_with_what_to_do() -> None:
    text = run().to_json().replace('"schema": 1', '"schema": 2')
    with pytest.raises(ResultError, match=r"schema 2, this harness reads 1 \(read it with"):
        RunResult.from_json(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"schema": 1}', "null"])
def test_what_is_not_a_result_is_refused(text: str) -> None:
    with pytest.raises(ResultError):
        RunResult.from_json(text)


def test_a_verdict_nobody_knows_is_refused() -> None:
    text = run(ended(Verdict.PASSED)).to_json().replace('"passed"', '"splendid"')
    with pytest.raises(ResultError, match="splendid"):
        RunResult.from_json(text)


def test_writing_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    run(ended(Verdict.FAILED)).write(path)
    assert RunResult.from_json(path.read_text()) == run(ended(Verdict.FAILED))
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.mkdir()
    with pytest.raises(OSError, match=r"result\.json"):
        run().write(path)
    assert list(tmp_path.iterdir()) == [path]


BOTH = [ended(Verdict.PASSED), ended(Verdict.PASSED, ARM)]


@pytest.mark.parametrize(
    ("results", "problem", "verdict"),
    [
        (BOTH, "", "passed"),
        ([*BOTH, ended(Verdict.NOT_APPLICABLE)], "", "passed"),
        ([*BOTH, ended(Verdict.FAILED)], "", "failed"),
        ([*BOTH, ended(Verdict.FAILED), ended(Verdict.BOOT)], "", "failed"),
        ([*BOTH, ended(Verdict.BOOT)], "", "error"),
        ([*BOTH, ended(Verdict.INFRASTRUCTURE)], "", "error"),
        ([], "", "error"),
        (BOTH[:1], "", "error"),
        ([BOTH[0], ended(Verdict.NOT_APPLICABLE, ARM)], "", "error"),
        (BOTH, "interrupted", "error"),
        ([*BOTH, ended(Verdict.FAILED)], "interrupted", "failed"),
    ],
)
def test_a_run_passes_only_if_every_device_proved_something_and_nothing_is_wrong(
    results: list[TestResult], problem: str, verdict: str
) -> None:
    assert run_verdict([ROUTER, ARM], results, problem) == verdict


def test_a_run_without_a_device_did_not_pass() -> None:
    assert run_verdict([], []) == "error"


def test_the_sentence_counts_tests_devices_and_verdicts() -> None:
    assert run(*BOTH).sentence == "1 test on 2 devices: 2 passed"
    assert run().sentence == "0 tests on 2 devices: nothing ran"
    assert (
        run(BOTH[0], ended(Verdict.BOOT, ARM)).sentence
        == "1 test on 2 devices: 1 passed, 1 boot error"
    )


def test_every_error_of_the_harness_names_a_verdict() -> None:
    kinds = [HarnessError]
    for kind in kinds:
        Verdict(kind.verdict)
        kinds.extend(kind.__subclasses__())
    assert len(kinds) > 5


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["tests"][0].update(suite=5),
        lambda data: data["tests"][0].update(suite=None),
        lambda data: data["tests"][0].update(device=[]),
        lambda data: data["tests"][0].update(seconds="x"),
        lambda data: data.update(started="x"),
        lambda data: data.update(devices=[{"name": 5, "arch": "", "facts": {}}]),
    ],
)
def test_a_field_of_another_type_is_damage(change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(run(ended(Verdict.PASSED)).to_json())
    change(data)
    with pytest.raises(ResultError):
        RunResult.from_json(json.dumps(data))


def test_a_text_that_has_no_end_is_no_result() -> None:
    with pytest.raises(ResultError):
        RunResult.from_json("[" * 200_000)
