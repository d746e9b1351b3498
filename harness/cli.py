"""The terminal face: `hil`."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

try:
    import typer
    from rich.console import Console
    from rich.markup import escape
except ImportError as error:  # the command is there wherever the library is
    sys.exit(f"hil: {error.name} is not installed (pip install 'paradrop[harness]')")

from harness import image
from harness.device import KINDS, kind_class
from harness.errors import HarnessError
from harness.image import tools
from harness.image.listing import cached

QUALIFIED = ["qemu-x86_64", "qemu-aarch64"]
"""What a build must pass on to be qualified."""

WORKERS = 4
"""For two cores: two suites that mostly wait, and two that compute. With six, the emulated routers
fight for the caches, and a boot takes three times as long."""

app = typer.Typer(no_args_is_help=True, help="Emulated routers, and suites that run on them.")
images = typer.Typer(no_args_is_help=True, help="Router images and their cache.")
app.add_typer(images, name="image")
console = Console(stderr=True, highlight=False)


def _kinds(incomplete: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def _archs(incomplete: str) -> list[str]:
    return [arch for arch in image.ARCHITECTURES if arch.startswith(incomplete)]


@app.command()
def qualify(
    device: Annotated[
        list[str] | None, typer.Option(help="Kind of device.", autocompletion=_kinds)
    ] = None,
    report: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("qualification"),
    suites: Annotated[Path, typer.Option(help="Folder of the suites.")] = Path("hil"),
) -> None:
    """Build the images, run every suite on every device, write the report; exit 0 if it passed."""
    import pytest

    kinds = device or QUALIFIED
    if not suites.is_dir():
        raise HarnessError(f"no suites in {suites}/", hint="run it in a checkout, or use --suites")
    _prepare(kinds)
    arguments = [str(suites), "--report", str(report), "-p", "no:cacheprovider", "-v"]
    arguments += ["--no-header", "--disable-warnings", "--tb", "short", "-r", "N"]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # we have imported ourselves
    for kind in kinds:
        arguments += ["--device", kind]
    arguments += ["-n", str(WORKERS), "--dist", "loadgroup", "--no-loadscope-reorder"]
    with tempfile.TemporaryDirectory(prefix="hil-", ignore_cleanup_errors=True) as folder:
        # also of the workers, which may be killed before they clean up
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        done = pytest.main(arguments)
    raise typer.Exit(0 if done == pytest.ExitCode.OK else 1)


@app.command()
def up(
    kind: Annotated[str, typer.Argument(autocompletion=_kinds)] = "qemu-x86_64",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring up a node and a device that has joined it, and keep them until Ctrl-C."""
    from harness.bench import Bench

    _prepare([kind])
    logging.getLogger("twisted").addHandler(logging.NullHandler())  # what counts is raised
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        bench = Bench(Path(folder))
        try:
            with console.status(f"starting {kind}"):
                device = bench.device(kind)
                identity = bench.provision(device)
            known = {
                "device": device.name,
                "pdid": identity.pdid,
                "node": bench.node.url(tls=True),
                **device.access(),
            }
            if as_json:
                print(json.dumps(known), flush=True)
            else:
                for name, value in known.items():
                    console.print(f"[bold]{name:>8}[/] {escape(value)}", soft_wrap=True)
                console.print("Ctrl-C ends it")
            threading.Event().wait()
        finally:
            bench.close()


@images.command()
def build(
    arch: Annotated[list[str] | None, typer.Argument(autocompletion=_archs)] = None,
    rebuild: Annotated[bool, typer.Option(help="Even if nothing changed.")] = False,
) -> None:
    """Build router images, or find them in the cache; prints their folders."""
    for each in arch or image.ARCHITECTURES:
        print(_build(each, rebuild=rebuild).folder)


@images.command(name="list")
def list_() -> None:
    """List the images in the cache, newest first."""
    found = cached()
    if not found:
        console.print("no images yet: `hil image build` builds them")
        return
    rows = [("arch", "key", "size", "age", "folder")]
    for each in found:
        size, age = f"{each.size / 1e6:.0f} MB", _duration(time.time() - each.built)
        rows.append((each.arch, each.key[:16], size, age, str(each.folder)))
    for arch, key, size, age, folder in rows:
        print(f"{arch:10} {key:16} {size:>7} {age:>7}  {folder}")


def _duration(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _prepare(kinds: list[str]) -> None:
    """Everything that the kinds of device need, or an error before any time is spent.

    Images, and the golden states that devices start from.

    @raise HarnessError: there is no such kind, QEMU is missing, an image can't be built.
    """
    from harness.bench import prepare

    archs = [arch for kind in kinds if (arch := getattr(kind_class(kind), "arch", None))]
    for arch in archs:
        architecture = image.ARCHITECTURES[arch]
        tools.find(architecture.qemu, architecture.qemu_package)
    for arch in archs:
        _build(arch)
    for kind in kinds:
        prepare(kind, _say)


def _build(arch: str, *, rebuild: bool = False) -> image.Image:
    return image.build(arch, progress=_say, rebuild=rebuild)


def _say(step: str) -> None:
    console.print(escape(step), style="dim")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP clean up just as Ctrl-C does, which a script's background job ignores."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    yield


def main() -> None:
    """The entry point of `hil`; an error of the harness is one line and exit status 1."""
    try:
        with _ended_by_signals():
            app(standalone_mode=True)
    except HarnessError as error:
        console.print(f"[red]hil:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os._exit(1)
