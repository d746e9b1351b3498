"""Which archives of the host's apt sources a router is built from."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.image.apt import DEFAULT_SOURCES, Source, host_sources, parse_deb822, parse_one_line

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_deb822_sources_keep_uris_suites_and_keyring() -> None:
    text = f"""\
Types: deb deb-src
# a comment between the fields
URIs: http://mirror.example/debian/ http://other.example/pub/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: {KEYRING}
"""
    suites = ("bookworm", "bookworm-updates")
    assert list(parse_deb822(text)) == [
        Source("http://mirror.example/debian", suites, KEYRING),
        Source("http://other.example/pub/debian", suites, KEYRING),
    ]


def test_a_key_inside_the_stanza_stays_whole() -> None:
    text = """\
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 bWFkZSB1cA==
 -----END PGP PUBLIC KEY BLOCK-----
"""
    (source,) = parse_deb822(text)
    assert list(parse_deb822(source.stanza())) == [source]
    assert " bWFkZSB1cA==\n" in source.stanza()


@pytest.mark.parametrize(
    "change",
    ["Enabled: no", "Types: deb-src", "Suites: nodistro", "Components: contrib"],
)
def test_deb822_sources_that_are_off_or_not_debian_are_left_out(change: str) -> None:
    fields = {
        "Types": "deb",
        "URIs": "http://mirror.example/debian",
        "Suites": "bookworm",
        "Components": "main",
    }
    name, value = change.split(": ")
    fields[name] = value
    assert list(parse_deb822("".join(f"{k}: {v}\n" for k, v in fields.items()))) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "deb http://mirror.example/debian bookworm main contrib # why",
            Source("http://mirror.example/debian", ("bookworm",)),
        ),
        (
            f"deb [arch=amd64 signed-by={KEYRING}] https://mirror.example/debian-security/ "
            "bookworm-security main",
            Source("https://mirror.example/debian-security", ("bookworm-security",), KEYRING),
        ),
        ("# deb http://mirror.example/debian bookworm main", None),
        ("deb-src http://mirror.example/debian bookworm main", None),
        ("deb https://download.docker.example/linux/debian bookworm stable", None),
        ("deb https://apt.postgresql.example/pub bookworm-pgdg main", None),
        ("deb http://mirror.example/debian trixie main", None),
    ],
)
def test_one_line_sources(line: str, expected: Source | None) -> None:
    assert list(parse_one_line(line)) == ([expected] if expected else [])


def test_both_formats_of_a_host_are_read_and_other_files_are_not(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    line = "deb http://{}.example/debian bookworm main\n"
    (tmp_path / "sources.list").write_text(line.format("a"))
    (parts / "b.sources").write_text(
        "Types: deb\nURIs: http://b.example/debian\nSuites: bookworm\nComponents: main\n"
    )
    (parts / "c.list").write_text(line.format("c") + line.format("a"))
    (parts / "d.list.disabled").write_text(line.format("d"))
    assert [source.uri for source in host_sources(tmp_path)] == [
        "http://a.example/debian",
        "http://b.example/debian",
        "http://c.example/debian",
    ]


def test_a_host_without_the_release_gets_debians_public_mirrors(tmp_path: Path) -> None:
    assert host_sources(tmp_path) == DEFAULT_SOURCES
    security = "deb http://mirror.example/debian-security bookworm-security main\n"
    (tmp_path / "sources.list").write_text(security)
    assert host_sources(tmp_path) == DEFAULT_SOURCES
