"""A proxy for apt that fetches a file once: a build after the first one waits for no network."""

from __future__ import annotations

import hashlib
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FETCH_SECONDS = 60


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        kept = self.folder / hashlib.sha256(self.path.encode()).hexdigest()
        try:
            if not kept.exists():
                self._fetch(kept)
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        except OSError as error:
            self.send_error(502, str(error))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(kept.stat().st_size))
        self.end_headers()
        with kept.open("rb") as file:
            shutil.copyfileobj(file, self.wfile)

    def _fetch(self, target: Path) -> None:
        if not self.path.startswith("http://"):
            raise OSError(f"{self.path} is not fetched")
        half = target.with_suffix(f".{threading.get_ident()}")
        request = urllib.request.urlopen(self.path, timeout=FETCH_SECONDS)  # noqa: S310
        with request as source, half.open("wb") as file:
            shutil.copyfileobj(source, file)
        half.replace(target)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def mirror(folder: Path) -> Iterator[Path]:
    """Runs while the block does.

    @param folder: made here; what was fetched is kept in it.
    @return: a configuration of apt (`APT_CONFIG`) that uses it for `http`, and not for `https`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handler = type("Handler", (_Handler,), {"folder": folder})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = folder / "apt.conf"
        config.write_text(
            f'Acquire::http::Proxy "http://127.0.0.1:{server.server_port}";\n'
            'Acquire::https::Proxy "DIRECT";\n'
        )
        try:
            yield config
        finally:
            server.shutdown()
