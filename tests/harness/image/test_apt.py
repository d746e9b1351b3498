"""Which archives of the host's apt sources a router is built from, and what comes out of them."""

from __future__ import annotations

import email.utils
import functools
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.errors import ImageError
from harness.image import apt
from harness.image.apt import DEFAULT_SOURCES, Source, host_sources, parse_deb822, parse_one_line
from harness.image.digest import sha256

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


class Mirror:
    """Serves an archive with one package of its own, and whatever a test adds."""

    def __init__(self, folder: Path) -> None:
        package = folder / "package"
        (package / "DEBIAN").mkdir(parents=True)
        (package / "usr").mkdir()
        (package / "usr/proof").write_text("unpacked")
        control = "Package: proof\nVersion: 1:2-3\nArchitecture: all\nMaintainer: m\n"
        (package / "DEBIAN/control").write_text(control + "Description: d\n")
        pool, lists = folder / "debian/pool", folder / "debian/dists/bookworm/main/binary-armhf"
        pool.mkdir(parents=True)
        lists.mkdir(parents=True)
        archive = pool / "proof.deb"
        subprocess.run(["dpkg-deb", "--build", package, archive], check=True, capture_output=True)
        index = control + f"Filename: pool/proof.deb\nSize: {archive.stat().st_size}\n"
        index += f"SHA256: {sha256(archive)}\n"
        (lists / "Packages").write_text(index)
        release = f" {sha256(lists / 'Packages')} {len(index)} main/binary-armhf/Packages\n"
        (lists.parents[1] / "Release").write_text(
            "Suite: bookworm\nCodename: bookworm\nArchitectures: armhf\nComponents: main\n"
            f"Date: {email.utils.formatdate(usegmt=True)}\nSHA256:\n{release}"
        )
        handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def source(self, name: str, suite: str) -> Source:
        return Source(f"http://127.0.0.1:{self.server.server_port}/{name}", (suite,))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    # nobody signs it; and it is on this computer
    options = ['Acquire::AllowInsecureRepositories "true"', 'APT::Get::AllowUnauthenticated "true"']
    monkeypatch.setattr(apt, "_proxies", lambda: options)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Mirror(tmp_path / "mirror")
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_packages_are_unpacked_and_their_versions_known(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "host_sources", lambda: (mirror.source("debian", "bookworm"),))
    said: list[str] = []
    assert apt.extract(["proof"], "armhf", tmp_path / "root", said.append) == {"proof": "1:2-3"}
    assert (tmp_path / "root/usr/proof").read_text() == "unpacked"
    assert said == []


def test_updates_that_cannot_be_had_are_left_out_and_said(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = mirror.source("debian-security", "bookworm-security")
    sources = (mirror.source("debian", "bookworm"), broken)
    monkeypatch.setattr(apt, "host_sources", lambda: sources)
    said: list[str] = []
    assert apt.extract(["proof"], "armhf", tmp_path / "root", said.append) == {"proof": "1:2-3"}
    assert said == [f"{broken.uri} can't be used for armhf: its updates are left out"]


def test_without_the_release_itself_nothing_can_be_unpacked(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "host_sources", lambda: (mirror.source("gone", "bookworm"),))
    with pytest.raises(ImageError, match="unpacking Debian packages for armhf"):
        apt.extract(["proof"], "armhf", tmp_path / "root", print)
