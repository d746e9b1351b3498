"""The file of who may join, without crossbar."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from autobahn.wamp.auth import derive_key

from harness.node.registry import DEVICE, BatchExhaustedError, Registry, UnknownBatchError


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry.sqlite")


def test_what_is_kept_checks_the_secret_and_is_not_the_secret(registry: Registry) -> None:
    secret = registry.enroll("a", DEVICE)
    kept = registry.find("a")
    assert kept is not None
    assert derive_key(secret, kept.salt, kept.iterations, kept.keylen).decode() == kept.key
    assert secret.encode() not in registry.path.read_bytes()
    assert registry.path.stat().st_mode & 0o777 == 0o600


def test_every_secret_and_salt_is_another(registry: Registry) -> None:
    assert registry.enroll("a", DEVICE) != registry.enroll("b", DEVICE)
    a, b = registry.find("a"), registry.find("b")
    assert a is not None
    assert b is not None
    assert a.salt != b.salt


def test_another_process_sees_it(registry: Registry) -> None:
    registry.enroll("a", DEVICE)
    code = (
        "import sys; from pathlib import Path; from harness.node.registry import Registry\n"
        "registry = Registry(Path(sys.argv[1])); registry.enroll('b', 'device')\n"
        "print(registry.find('a').role)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, registry.path], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == DEVICE
    assert registry.find("b") is not None


def test_revoking_twice_tells_the_difference(registry: Registry) -> None:
    registry.enroll("a", DEVICE)
    assert registry.revoke("a")
    assert not registry.revoke("a")
    assert registry.find("a") is None


def test_an_identity_that_is_refused_changes_nothing(registry: Registry) -> None:
    registry.add_batch("b", "wss://r/ws", 1)
    given = registry.provision("b")
    for _ in range(2):
        with pytest.raises(BatchExhaustedError):
            registry.provision("b")
    assert registry.find(given.pdid) is not None
    with pytest.raises(UnknownBatchError):
        registry.provision("c")


def test_a_revoked_device_gets_another_identity_for_its_nonce(registry: Registry) -> None:
    registry.add_batch("b", "wss://r/ws", 2)
    first = registry.provision("b", "serial")
    registry.revoke(first.pdid)
    assert registry.provision("b", "serial").pdid != first.pdid
