"""A file that was fetched once comes from this computer."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.mirror import mirror


class Archive(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a package " * 10_000)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def archive() -> Iterator[tuple[str, list[str]]]:
    """Its URL, and what it was asked for."""
    asked: list[str] = []
    handler = type("Handler", (Archive,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def through(config: Path) -> urllib.request.OpenerDirector:
    found = re.search(r'http::Proxy "(.+?)"', config.read_text())
    assert found is not None
    return urllib.request.build_opener(urllib.request.ProxyHandler({"http": found[1]}))


def test_a_file_is_fetched_once(archive: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = archive
    for _ in range(2):  # also by the next one with the same folder
        with mirror(tmp_path / "kept") as config:
            for _ in range(2):
                with through(config).open(f"{url}/pool/a.deb", timeout=10) as answer:
                    assert answer.read() == b"a package " * 10_000
    assert asked == ["/pool/a.deb"]


def test_what_is_not_there_is_not_kept(archive: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = archive
    with mirror(tmp_path) as config:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                through(config).open(f"{url}/none", timeout=10)
    assert asked == ["/none"] * 2
