"""The terminal face: `hil`."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

try:
    import typer
    from rich.markup import escape
    from rich.table import Table
except ImportError as error:  # the command is there wherever the library is
    sys.exit(f"hil: {error.name} is not installed (pip install 'paradrop[harness]')")

from harness import image, terminal
from harness.device import KINDS, kind_class, memory, split
from harness.errors import HarnessError, ResultError, UsageError
from harness.evidence import keeping
from harness.image import box
from harness.image.listing import cached
from harness.image.prune import Removed, prune

if TYPE_CHECKING:
    from harness.bench import Bench

QUALIFIED = ["qemu-x86_64", "qemu-aarch64"]
"""What a build must pass on to be qualified."""

USAGE_STATUS = 2
"""The exit status for wrong usage, as that of typer itself."""

app = typer.Typer(no_args_is_help=True, help="Emulated routers, and suites that run on them.")
images = typer.Typer(no_args_is_help=True, help="Router images and their cache.")
app.add_typer(images, name="image")
console = terminal.console(stderr=True, highlight=False)


def _kinds(incomplete: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def _archs(incomplete: str) -> list[str]:
    return [arch for arch in image.ARCHITECTURES if arch.startswith(incomplete)]


@app.command()
def qualify(
    device: Annotated[
        list[str] | None, typer.Option(help="Kind of device.", autocompletion=_kinds)
    ] = None,
    report: Annotated[
        str, typer.Option(help="Folder of the report.", metavar="FOLDER")
    ] = "qualification",
    suites: Annotated[Path, typer.Option(help="Folder of the suites.")] = Path("hil"),
) -> None:
    """Build the images, run every suite on every device, write the report; exit 0 if it passed."""
    import pytest

    kinds = device or QUALIFIED
    _check(kinds)
    if not suites.is_dir():
        raise UsageError(f"no suites in {suites}/", hint="run it in a checkout, or use --suites")
    if not any(suites.rglob("*.py")):
        raise UsageError(f"no tests in {suites}/", hint="a suite is a file test_….py")
    keeping.check(keeping.given(report))
    _prepare(kinds)
    arguments = [str(suites), "--report", report, "-p", "no:cacheprovider", "-v"]
    arguments += ["--no-header", "--disable-warnings", "--tb", "short", "-r", "N"]
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # we have imported ourselves
    for kind in kinds:
        arguments += ["--device", kind]
    count, why = memory.workers(len(os.sched_getaffinity(0)), memory.available())
    _say(f"{count} workers: {why}")
    arguments += ["-n", str(count), "--dist", "loadgroup", "--no-loadscope-reorder"]
    with tempfile.TemporaryDirectory(prefix="hil-", ignore_cleanup_errors=True) as folder:
        # also of the workers, which may be killed before they clean up
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        done = pytest.main(arguments)
    if done == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise UsageError(f"no tests in {suites}/")
    wrong_usage = done == pytest.ExitCode.USAGE_ERROR
    raise typer.Exit(USAGE_STATUS if wrong_usage else 0 if done == pytest.ExitCode.OK else 1)


@app.command()
def up(
    kind: Annotated[str, typer.Argument(autocompletion=_kinds)] = "qemu-x86_64",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Bring up a node and a device that has joined it, and keep them until Ctrl-C or their end."""
    from harness.bench import Bench

    _check([kind])
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
            _watch(bench)
        finally:
            bench.close()


def _watch(bench: Bench) -> NoReturn:
    """Until Ctrl-C. @raise HarnessError: what was up has died; one line, as its files are gone."""
    while True:
        time.sleep(1)
        try:
            bench.check_alive()
        except HarnessError as death:
            death.evidence = ""
            raise


@app.command()
def export(
    kind: Annotated[str, typer.Argument(autocompletion=_kinds)] = "qemu-x86_64",
    place: Annotated[
        list[str] | None, typer.Option(help="Place of a router, repeatable; made if missing.")
    ] = None,
    coordinator: Annotated[
        str, typer.Option(help="HOST:PORT of it.", envvar="LG_COORDINATOR")
    ] = "127.0.0.1:20408",
    name: Annotated[str, typer.Option(help="Of this exporter; default: the host's.")] = "",
) -> None:
    """Offer emulated routers to a labgrid lab, and keep them until Ctrl-C."""
    try:
        from harness.lab.exporter import export
        from harness.lab.router import check_kind
    except ImportError as error:
        raise HarnessError(
            f"{error.name} is not installed", hint="pip install 'paradrop[labgrid]'"
        ) from error

    check_kind(kind)
    _check([kind])
    _prepare([kind])
    export(kind, place or ["router-1"], coordinator, name or socket.gethostname(), _say)


@app.command(name="doctor")
def doctor_(
    device: Annotated[
        list[str] | None, typer.Option(help="Kind of device.", autocompletion=_kinds)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what there is for a qualification, and what is missing; exit 0 if nothing is."""
    from harness import doctor

    findings = doctor.examine(device or QUALIFIED)
    bad = [each for each in findings if not each.good]
    if as_json:
        known = [asdict(each) for each in findings]
        print(json.dumps({"good": not bad, "findings": known}))
        raise typer.Exit(1 if bad else 0)
    table = Table.grid(padding=(0, 2))
    good_mark, bad_mark = ("✓", "✗") if terminal.shows("✓✗") else ("ok", "no")
    for each in findings:
        mark = f"[green]{good_mark}[/]" if each.good else f"[red]{bad_mark}[/]"
        table.add_row(mark, each.what, escape(str(each)))
    terminal.console(highlight=False).print(table)
    for each in bad:
        console.print(f"[red]hil:[/] {escape(str(each))}", soft_wrap=True)
    raise typer.Exit(1 if bad else 0)


@app.command(name="kinds")
def kinds_(
    reports: Annotated[list[Path], typer.Argument(metavar="FOLDER…", help="Folders of reports.")],
) -> None:
    """Print kinds of device and suites as a Markdown table, from the reports of real runs."""
    from harness import report
    from harness.evidence.results import RunResult

    def read(folder: Path) -> RunResult:
        try:
            return RunResult.from_json((folder / "result.json").read_text())
        except (OSError, ValueError, ResultError) as error:
            raise UsageError(f"no report in {folder}: {error}") from error

    print(report.kinds([read(folder) for folder in reports]), end="")


@images.command()
def build(
    arch: Annotated[list[str] | None, typer.Argument(autocompletion=_archs)] = None,
    rebuild: Annotated[bool, typer.Option(help="Even if nothing changed.")] = False,
) -> None:
    """Build router images, or find them in the cache; prints their folders."""
    wanted = arch or list(image.ARCHITECTURES)
    for each in wanted:
        image.check(each)
    for each in wanted:
        print(_build(each, rebuild=rebuild).folder)


@images.command(name="box")
def box_(
    arch: Annotated[str, typer.Argument(autocompletion=_archs)] = "x86_64",
) -> None:
    """Make a router image into a box for Vagrant, or find it in the cache; prints its path."""
    made = box.box(arch, progress=_say)
    print(made.file)
    add = f"vagrant box add --force --name {made.name}"
    if os.getuid() == 0:
        _say(f"Vagrant is for an ordinary user: copy the box to where one can read it, then: {add}")
        return
    _say(f"next: vagrant up {made.arch}")
    _say(f"if an older box is in use: {add} {made.file}")


@images.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the images, golden states and boxes in the cache, newest use first."""
    found = cached()
    if as_json:
        print(json.dumps([{**asdict(each), "folder": str(each.folder)} for each in found]))
        return
    if not found:
        console.print("no images yet: `hil image build` builds them")
        return
    rows = [("what", "arch", "key", "size", "age", "folder")]
    for each in found:
        age = _duration(time.time() - each.used)
        key, size = each.key[:16], _megabytes(each.size)
        rows.append((each.what, each.arch, key, size, age, str(each.folder)))
    for what, arch, key, size, age, folder in rows:
        print(f"{what:6} {arch:10} {key:16} {size:>8} {age:>7}  {folder}")


@images.command(name="prune")
def prune_(
    keep_days: Annotated[int, typer.Option(min=0, help="Keep what was used in these days.")] = 30,
    keep_size: Annotated[
        float | None, typer.Option(min=0, help="Of that, keep at most so many GB.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only say.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove what was not used for long from the cache, and what killed runs left."""

    def say(gone: Removed) -> None:
        if not as_json:
            print(f"{_megabytes(gone.size):>8}  {gone.name}  {gone.reason}", flush=True)

    if keep_size is not None and not math.isfinite(keep_size):
        raise UsageError(f"--keep-size {keep_size} is no size", hint="give it in GB")
    size = None if keep_size is None else round(keep_size * 1e9)
    done = prune(days=keep_days, size=size, dry_run=dry_run, say=say)
    if as_json:
        print(json.dumps({**asdict(done), "dry_run": dry_run}))
        return
    for name in done.busy:
        _say(f"{name} stays: another run holds it")
    if done.removed:
        freed = "would be freed" if dry_run else "freed"
        print(f"{_megabytes(done.freed):>8}  {freed}, {_megabytes(done.left)} left")
    else:
        console.print("nothing to remove")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _check(kinds: list[str]) -> None:
    """Look whether there can be devices of these kinds, before any time is spent.

    @raise UsageError: there is no such kind, or its argument is wrong.
    @raise HarnessError: QEMU is missing, or whatever else they need.
    """
    for kind in kinds:
        kind_class(kind)
    for kind in kinds:
        kind_class(kind).check_host(split(kind)[1])


def _prepare(kinds: list[str]) -> None:
    """Make the images of the kinds of device, and the golden states that devices start from.

    @raise HarnessError: an image can't be built, or does not boot.
    """
    from harness.bench import prepare

    for kind in kinds:
        if arch := getattr(kind_class(kind), "arch", None):
            _build(arch)
    for kind in kinds:
        prepare(kind, _say)


def _build(arch: str, *, rebuild: bool = False) -> image.Image:
    return image.build(arch, progress=_say, rebuild=rebuild)


def _say(step: str) -> None:
    console.print(escape(step), style="dim", soft_wrap=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP clean up just as Ctrl-C does, which a script's background job ignores."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    yield


def main() -> None:
    """The entry point of `hil`.

    An error of the harness is one line and exit status 1; wrong usage is one line and status 2.
    """
    terminal.prepare()
    try:
        with _ended_by_signals():
            try:
                app(standalone_mode=True)
            finally:
                sys.stdout.flush()
    except HarnessError as error:
        console.print(f"[red]hil:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(USAGE_STATUS if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:  # a full disk, also that of standard output; a folder that is closed
        with suppress(OSError):
            console.print(f"[red]hil:[/] {escape(str(error))}", soft_wrap=True)
        os._exit(1)
