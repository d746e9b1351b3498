"""One check says which addresses can be used; what it accepts can be connected to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from autobahn.wamp.types import ComponentConfig
from hypothesis import given
from hypothesis import strategies as st

from paradrop.base import settings
from paradrop.base.address import AddressError, check, secrets, shown
from paradrop.base.connection import BaseClientFactory
from paradrop.base.cxbr import BaseSession, BaseSessionFactory
from paradrop.base.exceptions import SettingsError
from paradrop.daemon import cli, provisioning

GOOD = [
    "wss://h/ws",
    "ws://h",
    "WSS://Router.Example:8443/ws?realm=a",
    "wss://user:password@h/ws",
    "wss://[::1]:443/ws",
    "wss://[fe80::1%25eth0]/ws",
    "wss://192.0.2.1/ws",
    "wss://h./ws",
    "wss://[fe80::1%eth0]/ws",
    "wss://h/ws?mail=a@b",
    "wss://h:/ws",
    "wss://bücher.example/ws",
    "wss://h_1.example/a%20b",
]
BAD = [
    "wss://h/ws#x",
    "wss://h/ws#",
    "wss://h:0/ws",
    "wss://h:65536/ws",
    "wss://h:many/ws",
    "wss://ho st/ws",
    "wss://h/a b",
    "wss://h\t/ws",
    "wss://h/ws\n",
    " wss://h/ws",
    "wss://h\\ws",
    "wss:///ws",
    "wss://:443/ws",
    "wss://[::1/ws",
    "wss://[h]/ws",
    "wss://::1/ws",
    "wss://[::1]x/ws",
    "wss://x[::1]/ws",
    "wss://[::1]443/ws",
    "wss://[fe80::1%25]/ws",
    "wss://[fe80::1%]/ws",
    "wss://[fe80::1%25eth0/1]/ws",
    "wss://[192.0.2.1]/ws",
    "wss://999.1.1.1/ws",
    "wss://192.0.2/ws",
    "wss://192.0.2.1./ws",
    "wss://192.0.2.01/ws",
    "wss://router.example.7/ws",
    "wss://unix:/tmp/socket",
    "wss://-h/ws",
    "wss://h..example/ws",
    f"wss://{'h' * 64}/ws",
    f"wss://h/{'w' * 3000}",
    "wss://h/wś",
    "https://h/ws",
    "h/ws",
    "//h/ws",
    "",
    "\udce9",
]


def can_be_connected(url: str) -> bool:
    sessions = BaseSessionFactory(ComponentConfig(realm="paradrop"))  # type: ignore[no-untyped-call]
    try:
        BaseClientFactory(sessions, url=url)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("url", GOOD)
def test_a_usable_address_is_taken_everywhere(url: str, home: Path) -> None:
    assert check(url) == url
    assert can_be_connected(url)
    assert cli._router(url) == url
    given = {"pdid": "pd-1", "router": url, "token": "a-token"}
    assert provisioning.check(given).router == url


@pytest.mark.parametrize("url", BAD)
def test_any_other_is_refused_everywhere_with_the_same_words(url: str, home: Path) -> None:
    with pytest.raises(AddressError) as refused:
        check(url)
    why = str(refused.value)
    failures: list[Any] = []
    BaseSession.start(url, "pd-1").addErrback(failures.append)
    assert [str(failure.value) for failure in failures] == [why]
    with pytest.raises(SettingsError, match="usable address"):
        settings.save_to_file(home / "settings.ini", {"WAMP_ROUTER": url or "h"})
    with pytest.raises(Exception, match="usable address") as of_the_answer:
        provisioning.check({"pdid": "pd-1", "router": url, "token": "a-token"})
    assert why in str(of_the_answer.value)


@given(st.text(max_size=80) | st.from_regex(r"wss?://[^/]{0,12}(/[^/]{0,8})?", fullmatch=True))
def test_what_is_accepted_can_be_connected(url: str) -> None:
    try:
        check(url)
    except AddressError:
        return
    assert can_be_connected(url)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("wss://h:1/ws", "wss://h:1/ws"),
        ("wss://user:secret@h/ws", "wss://[concealed]@h/ws"),
        ("wss://h/ws?token=secret", "wss://h/ws?[concealed]"),
        ("wss://h/ws#secret", "wss://h/ws#[concealed]"),
        ("wss://user:se/cret@h/ws", "wss://[concealed]@h/ws"),
        ("wss://user:se@cret@h:0/ws", "wss://[concealed]@h:0/ws"),
        ("wss://user:1?secret@h/ws", "wss://[concealed]"),
        ("wss://h/ws?mail=a@secret", "wss://[concealed]"),
        ("user:secret@h", "[concealed]@h"),
        ("wss://h/ws?a=1#b", "wss://h/ws?[concealed]"),
        ("user:secret@h//ws", "[concealed]@h//ws"),
        ("wss:/user:secret@h//ws", "[concealed]@h//ws"),
        ("h?token=secret//x", "h?[concealed]"),
        ("//user:secret@h/ws", "//[concealed]@h/ws"),
        ("wss://user:secret", "wss://user:[concealed]"),
        ("wss://::1/ws", "wss://::1/ws"),
        ("https://h/login;jsessionid=secret", "https://h/login;[concealed]"),
        ("ws//user:secret@h", "ws//[concealed]@h"),
        ("ws//user:secret/h", "ws//user:[concealed]/h"),
        ("wss://[u:secret]/ws", "wss://[concealed]/ws"),
        ("wss://user:secret/ws", "wss://user:[concealed]/ws"),
        ("wss://[::1]:443/ws", "wss://[::1]:443/ws"),
        ("wss://[fe80::1%25eth0]/ws", "wss://[fe80::1%25eth0]/ws"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, seen: str) -> None:
    assert shown(url) == seen


@given(st.text("abc.@:%", max_size=20), st.text("abcdefgh/@:?#%", min_size=6, max_size=12))
def test_no_password_is_ever_shown(user: str, password: str) -> None:
    password = f"secret{password}secret"
    for url in (f"wss://{user}:{password}@h/ws", f"wss://h/ws?token={password}"):
        assert "secret" not in shown(url)
        with pytest.raises(AddressError) as refused:
            check(f"{url} ")
        assert "secret" not in str(refused.value)


def test_a_password_is_not_shown_however_long_it_is() -> None:
    for url in (f"wss://user:{'secret' * 1000}@h/ws", f"wss://h/ws?token={'secret' * 1000}"):
        assert "secret" not in shown(url)


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("wss://u:p%40ss@h/ws?token=a%20b&x=y", {"p%40ss", "p@ss", "a%20b", "a b", "y"}),
        ("wss://h/ws?an-api-token", {"an-api-token"}),
        ("wss://an-api-token@h/ws", {"an-api-token"}),
        ("wss://h/ws?token=a+b&empty=&&flag", {"a+b", "a b", "flag"}),
        ("wss://h/ws", set()),
        ("wss://[::1/ws?token=a", {"a"}),
    ],
)
def test_the_secrets_of_an_address_are_known_as_they_are_and_decoded(
    url: str, known: set[str]
) -> None:
    assert set(secrets(url)) == known
