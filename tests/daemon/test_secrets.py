"""However a file is damaged, no error shows the secret that is in it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from paradrop.base import settings, yamlfile
from paradrop.base.exceptions import ParadropException, SettingsError
from paradrop.daemon import provisioning

SECRET = "Tr0ub4dor-and-3-more"
PARTS = [SECRET[start : start + 6] for start in range(len(SECRET) - 5)]

DAMAGED = [
    "server: wss://h/ws\nbatch: b\nkey: {s}\n bad: x",
    "server: wss://h/ws\nbatch: b\nkey: '{s}",
    'server: wss://h/ws\nbatch: b\nkey: "{s}\\q"',
    "server: wss://h/ws\nbatch: b\nkey: {s}: {s}: x",
    "server: wss://h/ws\nbatch: b\nkey: !{s} x",
    "server: wss://h/ws\nbatch: b\nkey: !!python/object:{s} x",
    "server: wss://h/ws\nbatch: b\nkey: *{s}",
    "server: wss://h/ws\nbatch: b\nkey: &{s} [",
    "server: wss://h/ws\nbatch: b\nkey: %{s}",
    "server: wss://h/ws\nbatch: b\nkey: @{s}",
    "server: wss://h/ws\nbatch: b\n\tkey: {s}",
    "server: wss://h/ws\nbatch: b\nkey: [{s}",
    "server: wss://h/ws\nbatch: b\nkey: {{{s}: {s}}}",
    "server: wss://h/ws\nbatch: b\nkey: [{s}]",
    "server: wss://h/ws\nbatch: b\nkey: {s}\nkey: {s}",
    "server: wss://u:{s}@h:0/ws\nbatch: b\nkey: {s}",
    "server: 'wss://h/ws?token={s} '\nbatch: b\nkey: {s}",
    "server: h\nbatch: b\nkey: {s}",
    "key: {s}",
    "{s}",
    "- {s}",
    "? {s}",
    "server: wss://h/ws\nbatch: b\nkey: {s}\0",
    "server: wss://h/ws\nbatch: b\nkey: {s}\udcff",
    "%{s}\n---\nkey: x",
    "key: |{s}\n x",
    "key: 0123{s}\n  - x",
]


def assert_silent(text: str) -> None:
    assert not [part for part in PARTS if part in text], text


def shown(error: BaseException) -> str:
    """The error with all those that it hangs on, as a traceback prints them, without our code."""
    lines = traceback.format_exception(error)
    return "".join(line for line in lines if not line.startswith('  File "'))


@pytest.mark.parametrize("damage", DAMAGED)
def test_of_a_batch(home: Path, damage: str) -> None:
    data = damage.format(s=SECRET).encode(errors="surrogateescape")
    (home / "provision.yaml").write_bytes(data)
    with pytest.raises(ParadropException, match=r"provision\.yaml cannot be used") as refused:
        provisioning.read_batch()
    assert_silent(shown(refused.value))


def test_of_a_batch_that_was_cut_anywhere(home: Path) -> None:
    data = f"server: wss://h/ws\nbatch: b\nkey: '{SECRET}'\n".encode()
    for size in range(len(data) - 1):
        (home / "provision.yaml").write_bytes(data[:size])
        with pytest.raises(ParadropException) as refused:
            provisioning.read_batch()
        assert_silent(shown(refused.value))


@pytest.mark.parametrize(
    "value",
    [
        "0123456701",
        "yes",
        "12:34:56",
        "0x12ab",
        "1_000",
        ".inf",
        "null",
        "~",
        "",
        "2024-01-01",
        "true",
        "!!binary aGVsbG8=",
        "[a]",
        "{a: b}",
    ],
)
@pytest.mark.parametrize("name", ["server", "batch", "key"])
def test_what_yaml_would_change_is_refused_with_its_line(home: Path, name: str, value: str) -> None:
    fields = {"server": "wss://h/ws", "batch": "b", "key": "a-batch-key"} | {name: value}
    text = "".join(f"{field}: {each}\n" for field, each in fields.items())
    (home / "provision.yaml").write_text(text)
    with pytest.raises(ParadropException) as refused:
        provisioning.read_batch()
    line = list(fields).index(name) + 1
    assert f"line {line}: {name} has to be text: put it in quotes" in str(refused.value)
    if len(value) > 3:
        assert value not in str(refused.value).replace(str(home), "")


def test_in_quotes_it_is_taken_as_it_is(home: Path) -> None:
    (home / "provision.yaml").write_text(
        "server: wss://h/ws\nbatch: '12:34'\nkey: \"0123456701\"\n"
    )
    batch = provisioning.read_batch()
    assert batch is not None
    assert (batch.id, batch.key) == ("12:34", "0123456701")


@pytest.mark.parametrize(
    "damage",
    [
        "[base\nwamp_router = wss://u:{s}@h/ws\n",
        "wamp_router = wss://u:{s}@h/ws\n",
        "[base]\nwamp_router wss://u:{s}@h/ws\n",
        "[base]\n{s}\n",
        "[base]\nwamp_router = wss://u:{s}@h/ws\nwamp_router = x\n",
        "[base]\nwamp_router = wss://u:{s}@h/ws\n[base]\n",
        "[base]\nwamp_router = wss://u:{s}@h/ws\udcff\n",
    ],
)
def test_of_the_settings(home: Path, damage: str) -> None:
    data = damage.format(s=SECRET).encode(errors="surrogateescape")
    (home / "settings.ini").write_bytes(data)
    with pytest.raises(SettingsError) as refused:
        settings.loadSettings("unittest")
    assert_silent(shown(refused.value))


def test_of_yaml_in_a_daemon(daemon: Any) -> None:
    (daemon.home / "provision.yaml").write_text(DAMAGED[0].format(s=SECRET))
    daemon.start()
    daemon.wait("daemon.started")
    assert [one for one in daemon.records() if one["type"] == 6]
    assert_silent((daemon.home / "logs" / "log").read_text())
    assert_silent((daemon.folder / "console.log").read_text())


def test_no_text_of_yaml_gets_into_an_error() -> None:
    for damage in DAMAGED:
        try:
            yamlfile.load(damage.format(s=SECRET).encode(errors="surrogateescape"))
        except ValueError as error:
            assert_silent(shown(error))


def test_of_an_address_in_what_a_daemon_says(daemon: Any) -> None:
    daemon.environment["WAMP_ROUTER"] = f"wss://user:{SECRET}@127.0.0.1:1/ws?token={SECRET}"
    for words in (["--show-settings"], ["--show-settings", "--json"], ["WAMP_MAX_DELAY:-1"]):
        done = daemon.run(*words)
        assert_silent(done.stdout + done.stderr)
    daemon.environment["WAMP_ROUTER"] += " "
    daemon.start()
    daemon.wait("daemon.started")
    assert_silent((daemon.home / "logs" / "log").read_text())
    assert_silent((daemon.folder / "console.log").read_text())


def test_of_the_address_of_a_router_that_is_tried_again_and_again(daemon: Any) -> None:
    router = f"ws://user:{SECRET}@127.0.0.1:1/ws?token={SECRET}"
    daemon.provision("pd-1", router, "an-api-token")
    daemon.start()
    daemon.wait("wamp.retry", 2)
    assert_silent((daemon.home / "logs" / "log").read_text())
    assert_silent((daemon.folder / "console.log").read_text())


def test_of_the_server_that_a_daemon_asks_for_an_identity(daemon: Any) -> None:
    (daemon.home / "provision.yaml").write_text(
        f"server: ws://user:{SECRET}@127.0.0.1:1/ws?token={SECRET}\nbatch: b\nkey: k\n"
    )
    daemon.start()
    daemon.wait("wamp.retry")
    assert_silent((daemon.home / "logs" / "log").read_text())
    assert_silent((daemon.folder / "console.log").read_text())


@pytest.mark.parametrize("field", ["server", "batch", "key"])
@pytest.mark.parametrize("text", ['"b\\nforged"', '" b"', '"b\\t"', '" "', "|\n  b"])
def test_of_a_batch_is_a_line_of_text(home: Path, field: str, text: str) -> None:
    found = {"server": "wss://h/ws", "batch": "b", "key": "k"} | {field: text}
    (home / "provision.yaml").write_text("".join(f"{a}: {b}\n" for a, b in found.items()))
    with pytest.raises(ParadropException, match=f"{field} has to be a line of text"):
        provisioning.read_batch()


@pytest.mark.parametrize(
    "words",
    [
        [
            "LOG_MAX_DAYS:3",
            "--mode",
            "local",
            f"WAMP_ROUTER:wss://u:{SECRET}@h/ws",
            "--show-settings",
        ],
        ["--show-settings", f"WAMP_ROUTER:user:{SECRET}@h/ws"],
        ["--show-settings", f"PDSERVER:https:user:{SECRET}@h"],
        [f"apitoken={SECRET}"],
        [f"--token={SECRET}"],
        ["provision", "--pdid", "pd-1", "--router", "wss://h/ws", f"--token={SECRET}"],
        ["provision", "--pdid", "pd-1", "--router", f"ws//u:{SECRET}@h"],
    ],
)
def test_of_the_command_line(daemon: Any, words: list[str]) -> None:
    done = daemon.run(*words)
    assert "Traceback" not in done.stderr
    assert_silent(done.stdout + done.stderr)


def test_of_a_setting_that_is_refused(home: Path) -> None:
    file = home / "settings.ini"
    for value in (f"wss://u:{SECRET}@h\0", [f"wss://u:{SECRET}@h"], f"https://u:{SECRET}@h "):
        for name in ("WAMP_ROUTER", "PDSERVER", "LOG_MAX_DAYS"):
            with pytest.raises(SettingsError) as refused:
                settings.save_to_file(file, {name: value})
            assert_silent(shown(refused.value))
    with pytest.raises(SettingsError) as refused:
        settings.loadSettings("unittest", [f"WAMP_ROUTER:wss://u:{SECRET}@h\0"])
    assert_silent(shown(refused.value))
