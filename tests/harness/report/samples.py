"""Results such as a real run leaves, to look at and to test the reports with."""

from __future__ import annotations

import random
from dataclasses import replace

from harness.evidence.results import (
    DeviceInfo,
    EvidenceFile,
    Measurement,
    RunResult,
    TestResult,
    Verdict,
    run_verdict,
)

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"

SUITES = {
    "provisioning": {
        "test_a_router_provisions_itself_from_a_batch": "A router provisions itself from a batch",
        "test_by_hand": "A router provisioned by hand joins as itself",
        "test_identity_survives_a_power_cut": "Identity and keys survive a power cut",
        "test_a_wrong_batch_key": "A wrong batch key is refused and not hammered",
        "test_a_wrong_token": "A wrong token is refused and logged once",
        "test_a_revoked_device": "A revoked device is thrown out and stays out",
        "test_again_as_another": "Provisioning again gives another identity",
        "test_an_exhausted_batch": "An exhausted batch gives out nothing",
    },
    "reconnect": {
        "test_router_restarted": "A router that restarts gets its device back",
        "test_router_killed": "A router that is killed gets its device back",
        "test_cable_pulled": "A half-open connection is noticed",
        "test_power_cycled": "A device that loses power comes back",
        "test_the_delay_grows_and_resets": "The delay between tries grows, and resets after a join",
        "test_registrations_are_back[status]": "Every procedure is registered again",
        "test_registrations_are_back[logs]": "Every procedure is registered again",
        "test_registrations_are_back[config]": "Every procedure is registered again",
        "test_one_session": "There is exactly one session after each fault",
        "test_heartbeat": "The heartbeat goes on",
    },
    "logging": {
        "test_in_order_and_complete": "Records arrive in the file in order and complete",
        "test_logs_over_wamp": "The logs over WAMP equal the file",
        "test_rotation": "The log rotates at midnight",
        "test_power_cut": "A power cut loses at most what was not yet flushed",
        "test_stolen_stdout": "What is printed is in the log",
        "test_unhandled": "An unhandled exception is in the log",
        "test_pages": "Many records come in bounded pages",
        "test_levels": "Each kind of record keeps its level",
    },
    "on_device": {
        "test_configuration_home": "The configuration home belongs to the daemon alone",
        "test_keys_are_secret": "Keys can be read by the daemon alone",
        "test_logs_folder": "The log folder is there and written to",
        "test_daemon_user": "The daemon does not run as root",
        "test_sockets": "Nothing listens on the wan side but what should",
        "test_version": "The installed version is the one under test",
        "test_read_only_root": "The root file system is read-only",
        "test_free_space": "The overlay has room",
        "test_clock": "The clock is right",
        "test_memory": "The daemon fits into memory",
    },
}
FAULTS = {
    "test_router_restarted": ("router restarted", 2.2),
    "test_router_killed": ("router killed", 2.6),
    "test_cable_pulled": ("wan cable pulled for 30 s", 4.4),
    "test_power_cycled": ("device power-cycled", 19.0),
    "test_the_delay_grows_and_resets": ("router away for 3 minutes", 41.0),
}
ARCHES = {
    "qemu-x86_64": "x86_64",
    "qemu-aarch64": "aarch64",
    "process": "x86_64",
    "qemu-armv7": "armv7",
    "vagrant-x86_64": "x86_64",
}
TAIL = "\n".join(
    f"[{4.2 + n / 7:10.6f}] virtio_net virtio{n % 3}: \x1b[32mlink up\x1b[0m, 1000 Mbps"
    for n in range(12)
)
DAEMON = """\
2026-11-23 14:41:07 INFO  wamp.left: the transport was lost
2026-11-23 14:41:07 INFO  wamp.retry: attempt 1 in 1.21 s
2026-11-23 14:41:09 WARN  wamp.retry: attempt 2 in 2.07 s (connection refused)
2026-11-23 14:41:11 WARN  wamp.retry: attempt 3 in 3.88 s (connection refused)"""
CROSSBAR = "2026-11-23T14:41:09+0000 [Router 8123] session closed (code 1006: unclean)\n" * 4
TRACEBACK = """\
    def test_router_restarted(device, node, operator):
        before = operator.wait_joined(device.pdid)
        node.restart()
>       after = operator.wait_joined(device.pdid, not_in=[before], timeout=60)

hil/test_reconnect.py:41: DeviceError
harness.errors.DeviceError: qemu-x86_64: no new session within 60 s"""


def passing(devices: int = 2) -> RunResult:
    """36 tests, all of which pass on each of up to five devices."""
    chance = random.Random(20261123)
    names = list(ARCHES)[:devices]
    tests = [
        passed(suite, function, title, name, chance)
        for suite, functions in SUITES.items()
        for function, title in functions.items()
        for name in names
    ]
    infos = tuple(
        DeviceInfo(
            name,
            ARCHES[name],
            {
                "image": f"{chance.getrandbits(256):064x}",
                "kernel": "6.1.0-40-cloud" + ("-arm64" if "arm" in ARCHES[name] else "-amd64"),
                "qemu": "7.2.19 (Debian 1:7.2+dfsg-7+deb12u16)",
                "accelerator": "tcg (KVM opened but could not run a guest)",
                "python": "3.11.2",
                "library wheel": "5f1d8b0c" * 8,
            },
        )
        for name in names
    )
    return RunResult(
        started=1795444800.0,
        finished=1795444800.0 + 341,
        command="pytest hil " + " ".join(f"--device {name}" for name in names),
        verdict=run_verdict(infos, tests),
        devices=infos,
        versions={
            "paradrop": "0.1.0",
            "wheel": "5f1d8b0c" * 8,
            "commit": "8c2f1e40b7d1f7a4c6d0b3b6a4f0f6c1d2e3a4b5",
            "crossbar": "26.10.1",
            "autobahn": "26.10.2",
            "twisted": "26.10.0",
            "pytest": "9.2.0",
            "qemu": "7.2.19",
        },
        tests=tuple(tests),
        host={"system": "Debian GNU/Linux 12 (bookworm)", "cores": "2", "memory": "24 GiB"},
    )


def passed(suite: str, function: str, title: str, name: str, chance: random.Random) -> TestResult:
    slow = 1.0 if "x86" in name else 0.3 if name == "process" else 1.7
    times: tuple[Measurement, ...] = ()
    seconds = chance.uniform(0.08, 6) * slow
    if function in FAULTS:
        fault, usual = FAULTS[function]
        times = tuple(
            Measurement("rejoin", usual * slow * chance.lognormvariate(0, 0.25), fault)
            for _ in range(4)
        )
        seconds += sum(item.seconds for item in times)
    return TestResult(
        f"hil/test_{suite}.py::{function}",
        suite,
        title,
        name,
        Verdict.PASSED,
        seconds,
        measurements=times,
    )


def mixed(devices: int = 2, text: str = "") -> RunResult:
    """Each verdict at least once.

    @param text: put into every text of the tests, to see what it does there.
    """
    result = passing(devices)
    tests = list(result.tests)
    evidence = (
        EvidenceFile("console", "evidence/router restarted/console.log", TAIL + text),
        EvidenceFile("daemon log", "evidence/router restarted/daemon.log", DAEMON + text),
        EvidenceFile("crossbar log", "evidence/router restarted/crossbar.log", CROSSBAR + text),
    )
    long = "AssertionError: records differ: " + "sequence 4711 is missing, " * 30
    for index, verdict, message in (
        (16, Verdict.FAILED, "no new session within 60 s after the router restarted"),
        (41, Verdict.FAILED, long),
        (43, Verdict.BOOT, "the daemon did not start within 90 s"),
        (22, Verdict.INFRASTRUCTURE, "qemu-system-x86_64 (pid 4242) ended with signal 9"),
        (64, Verdict.NOT_APPLICABLE, "process has no read-only root (needs: disk)"),
        (65, Verdict.NOT_APPLICABLE, "process has no read-only root (needs: disk)"),
    ):
        applies = verdict is not Verdict.NOT_APPLICABLE
        tests[index] = replace(
            tests[index],
            verdict=verdict,
            message=message + text,
            title=tests[index].title + text,
            details=TRACEBACK + text if applies else "",
            evidence=evidence if applies else (),
        )
    return replace(
        result,
        command=result.command + text,
        versions=result.versions | {"note": "1" + text},
        tests=tuple(tests),
        verdict=run_verdict(result.devices, tests),
    )
