"""An error says what failed, where, and what to do, and which verdict follows from it."""

import pytest

from harness.errors import (
    BootError,
    CommandError,
    DeviceError,
    HarnessError,
    ImageError,
    InfrastructureError,
    MissingToolError,
    ResultError,
    SuiteError,
    UsageError,
)


def test_it_reads_as_one_line_and_its_evidence() -> None:
    error = HarnessError(
        "it never joined", device="qemu-x86_64", hint="see console.log", evidence="\nlast line\n"
    )
    assert str(error) == "qemu-x86_64: it never joined (see console.log)\nlast line"
    assert str(HarnessError("it never joined")) == "it never joined"


def test_a_missing_tool_names_its_package() -> None:
    error = MissingToolError("qemu-system-aarch64", "qemu-system-arm")
    assert str(error) == ("qemu-system-aarch64 is not installed (apt-get install qemu-system-arm)")


def test_the_device_can_be_named_later() -> None:
    error = BootError("the console is silent")
    error.device = "qemu-aarch64"
    assert str(error) == "qemu-aarch64: the console is silent"


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (DeviceError, "failed"),
        (CommandError, "failed"),
        (BootError, "error: boot"),
        (HarnessError, "error: infrastructure"),
        (InfrastructureError, "error: infrastructure"),
        (ImageError, "error: infrastructure"),
        (ResultError, "error: infrastructure"),
        (SuiteError, "error: suite"),
        (UsageError, "error: suite"),
    ],
)
def test_only_an_error_of_the_device_is_a_failure(kind: type[HarnessError], verdict: str) -> None:
    assert kind("it went wrong").verdict == verdict
