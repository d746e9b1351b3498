"""What a router is given, and what it is given it for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from paradrop.base import identity
from paradrop.base.exceptions import AuthenticationError, ParadropException
from paradrop.base.output import out
from paradrop.daemon import provisioning
from paradrop.daemon.session import sign

pytestmark = pytest.mark.usefixtures("home")

same_folder = profile(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@pytest.fixture
def told() -> Iterator[list[Any]]:
    records: list[Any] = []
    out.subscribe(records.append)
    yield records
    out.unsubscribe(records.append)


def test_no_file_is_no_batch() -> None:
    assert provisioning.read_batch() is None


@same_folder
@given(
    st.binary(max_size=100)
    | st.dictionaries(st.sampled_from(["server", "batch", "key", "x"]), scalars).map(
        lambda contents: yaml.safe_dump(contents).encode()
    )
)
def test_any_file_is_a_batch_or_one_clear_error(home: Path, content: bytes) -> None:
    (home / "provision.yaml").write_bytes(content)
    try:
        batch = provisioning.read_batch()
    except ParadropException as error:
        reason = str(error)
    else:
        assert batch is not None
        assert batch.server
        assert batch.id
        assert batch.key
        assert "key=" not in repr(batch)
        return
    assert reason.startswith(f"{home}/provision.yaml ")
    assert "\n" not in reason


@given(
    scalars
    | st.dictionaries(
        st.sampled_from(["pdid", "router", "token"]),
        scalars | st.sampled_from(["wss://r/ws", "pd-1"]),
    )
)
def test_any_answer_is_an_identity_or_refused(answer: Any) -> None:
    try:
        given_identity = provisioning.check(answer)
    except ParadropException:
        return
    assert identity.PDID.fullmatch(given_identity.pdid)
    assert given_identity.router.startswith("wss://")
    assert given_identity.token


def test_the_nonce_is_the_same_as_before() -> None:
    first = provisioning.nonce()
    assert len(first) == 32
    assert provisioning.nonce() == first
    identity.write_key("", provisioning.NONCE_KEY)
    assert provisioning.nonce() not in ("", first)


def test_nothing_that_proves_who_the_router_is_comes_into_a_record(
    home: Path, told: list[Any]
) -> None:
    contents = {"server": "wss://r/ws", "batch": "b", "key": "key-of-the-batch"}
    (home / "provision.yaml").write_text(yaml.safe_dump(contents))
    provisioning.read_batch()
    provisioning.check({"pdid": "pd-1", "router": "wss://r/ws", "token": "token-of-pd-1"})
    secrets = ["key-of-the-batch", "token-of-pd-1", provisioning.nonce()]
    out.info(" and ".join(secrets))
    assert told
    assert [secret for secret in secrets if secret in str(told)] == []


class Challenge:
    method = "wampcra"

    def __init__(self, **extra: Any) -> None:
        self.extra = {"challenge": "x", "salt": "s", "iterations": 1000, "keylen": 32} | extra


@pytest.mark.parametrize(
    "extra",
    [
        *({"iterations": number} for number in (2**31 - 1, 2**40, -1, 0, True, "1000", 1e3, None)),
        *({"keylen": number} for number in (8589934592, -1, 0, "32", None)),
        *({"salt": None}, {"challenge": None}, {"challenge": 5}),
    ],
)
def test_a_challenge_that_is_none_is_refused_at_once(extra: dict[str, Any]) -> None:
    with pytest.raises(AuthenticationError, match="none of WAMP-CRA"):
        sign(Challenge(**extra), "a-secret")


def test_a_secret_that_cannot_be_sent_signs_nothing() -> None:
    with pytest.raises(AuthenticationError):
        sign(Challenge(), "k\ud800")


@pytest.mark.parametrize("token", [" ", "x\ny", "t\ud800", "", " t", 5, None])
def test_an_answer_without_a_usable_token_is_none(token: object) -> None:
    with pytest.raises(ParadropException, match="no usable token"):
        provisioning.check({"pdid": "pd-1", "router": "wss://h/ws", "token": token})
