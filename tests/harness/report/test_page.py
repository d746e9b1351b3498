"""The page in a real browser shows what a person looks for and asks nobody for anything."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import samples

from harness.errors import MissingToolError
from harness.evidence.keeping import PAGE
from harness.evidence.results import (
    EvidenceFile,
    Measurement,
    RunResult,
    RunVerdict,
    run_verdict,
)
from harness.report import page, save

# Without the background flags Chromium calls home at every start.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def chromium(profile: Path, *arguments: str) -> str:
    if shutil.which("chromium") is None:
        raise MissingToolError("chromium", "chromium")
    return subprocess.run(
        ["chromium", *FLAGS, f"--user-data-dir={profile}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=60,
    ).stdout


class Dom(HTMLParser):
    """Elements with their attributes, and the text outside of styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str, css: str = "") -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and css in (attributes.get("class") or "")
        ]


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def asks_nobody(text: str) -> None:
    """Nothing that a browser would load by itself: only links, and those beside the page."""
    for tag, attributes in Dom(text).elements:
        for name in {"src", "srcset", "data", "action", "poster", "xlink:href"} & set(attributes):
            pytest.fail(f"<{tag} {name}> would be loaded")
        if "href" in attributes:
            assert tag == "a"
            assert str(attributes["href"]).startswith(("#", "./"))
        assert tag not in {"script", "link", "iframe", "object", "embed", "img", "base"}
        assert not [name for name in attributes if name.startswith("on")]
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_a_browser_shows_the_verdict_the_failures_and_their_evidence(tmp_path: Path) -> None:
    assert save(samples.mixed(5, samples.HOSTILE), tmp_path / "qualification") == []
    report = tmp_path / "qualification" / PAGE
    seen = chromium(tmp_path / "profile", "--dump-dom", report.as_uri())
    dom = Dom(seen)
    asks_nobody(seen)

    assert "✗ Failed" in dom.text
    assert "36 tests on 5 devices: 174 passed, 2 failed, 1 boot error" in dom.text
    for word in ("qemu-armv7", "reconnect", "took 5 min 41 s", "crossbar", "5f1d8b0c" * 8):
        assert word in dom.text
    for shown in ("no new session within 60 s", "DeviceError", "attempt 3 in 3.88 s", "1006"):
        assert shown in dom.text
    files = [link["href"] for link in dom.of("a") if "console.log" in str(link["href"])]
    assert files == ["./evidence/router%20restarted/console.log"] * 4
    # what a hostile router prints is read, not run
    assert "<script>document.title" in dom.text
    assert "owned" not in seen.partition("<title>")[2].partition("</title>")[0]
    # colours of the console are not shown as rubbish
    assert "[32m" not in dom.text


def test_every_problem_of_the_grid_leads_to_its_evidence() -> None:
    dom = Dom(page(samples.mixed()))
    targets = [article["id"] for article in dom.of("article")]
    assert len(targets) == 4
    assert sorted(str(cell["href"]) for cell in dom.of("a", "cell")) == [f"#{t}" for t in targets]


def test_each_cell_says_its_verdict_in_words() -> None:
    text = page(samples.mixed())
    cells = re.findall(r'class="cell (\w+)".*?<span>(.*?)</span>', text)
    assert len(cells) == 72
    assert set(cells) == {
        ("passed", "passed"),
        ("failed", "failed"),
        ("error", "boot error"),
        ("error", "infrastructure error"),
        ("other", "not applicable"),
    }


@pytest.mark.parametrize("width", [1400, 700])
def test_a_picture_can_be_taken_of_it_wide_and_narrow(tmp_path: Path, width: int) -> None:
    assert save(samples.passing(), tmp_path) == []
    report = tmp_path / PAGE
    picture = tmp_path / "report.png"
    size = f"--window-size={width},900"
    chromium(tmp_path / "profile", f"--screenshot={picture}", size, report.as_uri())
    assert png_size(picture) == (width, 900)
    assert picture.stat().st_size > 30_000  # an empty page has a tenth of that


def test_a_passing_page_has_the_plot_and_no_problem() -> None:
    dom = Dom(page(samples.passing()))
    asks_nobody(page(samples.passing()))
    assert "✓ Passed" in dom.text
    assert "36 tests on 2 devices: 72 passed." in dom.text
    assert "What went wrong" not in dom.text
    assert "Time to rejoin" in dom.text
    dots = dom.of("circle")
    assert len(dots) == 5 * 2 * 4  # faults, devices, times
    assert all(0 <= float(str(dot["cx"]).rstrip("%")) <= 100 for dot in dots)
    assert len(dom.of("line", "middle")) == 10


def test_a_run_that_was_interrupted_says_so() -> None:
    passing = samples.passing()
    verdict = run_verdict(passing.devices, passing.tests, "interrupted")
    dom = Dom(page(replace(passing, verdict=verdict, problem="interrupted")))
    assert "! Error 36 tests on 2 devices: 72 passed. interrupted" in dom.text


def test_a_run_of_nothing_is_an_error_page() -> None:
    dom = Dom(page(RunResult(1.0, 1.0, "", RunVerdict.ERROR, (), {}, (), {})))
    assert "! Error 0 tests on 0 devices: nothing ran." in dom.text


@pytest.mark.parametrize(
    "path", ["//evil.example/x", "https://evil.example", "javascript:alert(1)", "/etc/passwd"]
)
def test_a_link_to_evidence_never_leaves_the_folder(path: str) -> None:
    result = samples.mixed()
    tests = [replace(test, evidence=(EvidenceFile("x", path),)) for test in result.tests]
    asks_nobody(page(replace(result, tests=tuple(tests))))


@pytest.mark.parametrize("times", [[0.0], [3.0], [0.0, 200.0], [0.001, 5000.0], [1.0, 25.0]])
def test_any_times_can_be_drawn(times: list[float]) -> None:
    result = samples.passing(1)
    measured = tuple(Measurement("rejoin", time, "a fault") for time in times)
    only = (replace(result.tests[0], measurements=measured),)
    dom = Dom(page(replace(result, tests=only)))
    assert len(dom.of("circle")) == len(times)
    assert 2 <= len(dom.of("text")) <= 9
    dots, ticks = (
        [float(str(place[name]).rstrip("%")) for place in dom.of(tag)]
        for tag, name in (("circle", "cx"), ("text", "x"))
    )
    assert all(0 <= place <= 100 for place in [*dots, *ticks])
    assert max(dots) > 60 or max(times) == 0  # the axis fits the times
