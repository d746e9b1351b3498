"""Debian packages of another architecture, unpacked and never run.

The mirrors are the host's own, as far as they carry Debian; everything else in its apt sources
is left out, for a router has nothing of Docker's or Node's. A host without the release that the
routers run (another Debian, Ubuntu) gets Debian's public mirrors.
Formats: sources.list(5), both of them.
"""

from __future__ import annotations

import os
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError
from harness.image import tools

RELEASE = "bookworm"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SUITES = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")


@dataclass(frozen=True)
class Source:
    """One archive: a URI and its suites. `signed_by` is a path, an inline key or empty."""

    uri: str
    suites: tuple[str, ...]
    signed_by: str = ""

    def stanza(self) -> str:
        """The source as a deb822 stanza of its main component."""
        lines = ["Types: deb", f"URIs: {self.uri}", f"Suites: {' '.join(self.suites)}"]
        lines.append("Components: main")
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


DEFAULT_SOURCES = (
    Source("http://deb.debian.org/debian", (RELEASE, f"{RELEASE}-updates"), _KEYRING),
    Source("http://deb.debian.org/debian-security", (f"{RELEASE}-security",), _KEYRING),
)


def host_sources(etc_apt: Path = Path("/etc/apt")) -> tuple[Source, ...]:
    """The archives of the host that carry Debian's release, else Debian's public ones."""
    sources: list[Source] = []
    files = [etc_apt / "sources.list", *sorted((etc_apt / "sources.list.d").glob("*"))]
    for file in files:
        if file.suffix not in (".list", ".sources") or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        parse = parse_deb822 if file.suffix == ".sources" else parse_one_line
        sources += parse(text)
    if not any(RELEASE in source.suites for source in sources):
        return DEFAULT_SOURCES
    return tuple(dict.fromkeys(sources))


def parse_one_line(text: str) -> Iterator[Source]:
    """Debian archives in a `sources.list`: `deb [options] URI suite component…`."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if match is None:
            continue
        options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
        yield from _debian([match[2]], [match[3]], match[4].split(), options.get("signed-by", ""))


def parse_deb822(text: str) -> Iterator[Source]:
    """Debian archives in a `.sources` file: stanzas of `Field: value`, comments from `#`."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')}\n{line}"
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split():
            continue
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        yield from _debian(
            fields.get("uris", "").split(),
            fields.get("suites", "").split(),
            fields.get("components", "").split(),
            fields.get("signed-by", ""),
        )


def _debian(
    uris: Iterable[str], suites: Iterable[str], components: Sequence[str], signed_by: str
) -> Iterator[Source]:
    ours = tuple(suite for suite in suites if suite in _SUITES)
    if not ours or "main" not in components:
        return
    for uri in uris:
        folders = urllib.parse.urlsplit(uri).path.split("/")
        if "debian" in folders or "debian-security" in folders:
            yield Source(uri.rstrip("/"), ours, signed_by)


def extract(
    packages: Sequence[str], architecture: str, folder: Path, progress: Callable[[str], None]
) -> dict[str, str]:
    """Unpack Debian packages and all they depend on; no maintainer script is run.

    An archive of updates that can't be used, as while a mirror is being synchronised, is done
    without, and a line says so: the release itself has all packages.

    @param architecture: Debian's name of it, any that the mirrors carry.
    @param folder: a folder that does not exist yet.
    @return: version of each package that was unpacked, by its name.
    @raise ImageError: a mirror or the disk failed; @raise MissingToolError: no mmdebstrap.
    """
    sources = host_sources()
    try:
        _unpack(packages, architecture, folder, sources)
    except ImageError as error:
        usable = without_failed(sources, error.evidence)
        if usable == sources:
            raise
        for source in set(sources) - set(usable):
            progress(f"{source.uri} can't be used for {architecture}: its updates are left out")
        shutil.rmtree(folder, ignore_errors=True)
        _unpack(packages, architecture, folder, usable)
    archives = folder / "var/cache/apt/archives"
    versions = {}
    for archive in archives.glob("*.deb"):
        name, version, _ = archive.name.rsplit("_", 2)
        versions[name] = urllib.parse.unquote(version)
    return dict(sorted(versions.items()))


def without_failed(sources: tuple[Source, ...], output: str) -> tuple[Source, ...]:
    """The archives that apt could use, by what it printed; all of them where the release itself is
    not among these.

    What it prints: `E: Failed to fetch URI  REASON`.
    """
    failed = re.findall(r"^E: Failed to fetch (\S+)", output, re.MULTILINE)
    usable = tuple(
        source for source in sources if not any(uri.startswith(f"{source.uri}/") for uri in failed)
    )
    return usable if any(RELEASE in source.suites for source in usable) else sources


def _unpack(
    packages: Sequence[str], architecture: str, folder: Path, sources: tuple[Source, ...]
) -> None:
    tools.run(
        [
            "mmdebstrap",
            "--variant=extract",
            *_unprivileged(),
            "--skip=cleanup/apt",  # the archives it leaves tell the versions
            f"--architectures={architecture}",
            f"--include={','.join(packages)}",
            *(f"--aptopt={line}" for line in _proxies()),
            RELEASE,
            folder,
            "-",
        ],
        "mmdebstrap",
        purpose=f"unpacking Debian packages for {architecture}",
        stdin="\n".join(source.stanza() for source in sources),
    )


def _unprivileged() -> list[str]:
    return [] if os.geteuid() == 0 else ["--mode=chrootless"]


def _proxies() -> list[str]:
    dump = tools.run(["apt-config", "dump"], "apt", purpose="reading apt's configuration")
    return [line for line in dump.splitlines() if re.match(r"Acquire::https?::.*\S", line)]
