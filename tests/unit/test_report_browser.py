"""What a browser makes of the report: it draws everything, without an error."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reference_engine.reporting.page import render_report
from tests.strategies.nights import NAMES, NAMES_MORE, busy_night

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
    "--dump-dom",
)
HOSTILE = "<img src=x onerror=document.title='owned'>"

if CHROMIUM is None:
    pytest.skip("no browser: install the Debian package `chromium`", allow_module_level=True)


def _shown(page: str, tmp_path: Path) -> str:
    """Return the document as it stands when the browser has run the page's scripts."""
    assert CHROMIUM is not None
    file = tmp_path / "report.html"
    file.write_text(page, "utf-8")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", file.as_uri()],
        capture_output=True,
        check=True,
        timeout=120,
        text=True,
        encoding="utf-8",
    )
    return done.stdout


def test_a_browser_draws_all_charts_without_an_error(tmp_path: Path) -> None:
    """Under the page's own policy every chart is drawn and no script fails."""
    shown = _shown(render_report(busy_night()), tmp_path)
    root = re.search(r"<html[^>]*>", shown)

    assert root is not None
    assert 'data-errors="0"' in root[0]
    assert 'data-ready="3"' in root[0]
    assert shown.count('aria-roledescription="visualization"') == 3
    assert shown.count('aria-roledescription="point"') == 2 * 156


def test_a_reader_can_zoom_choose_find_and_order(tmp_path: Path) -> None:
    """Zooming moves marks, choosing shows one machine, finding hides rows, ordering sorts them."""
    acts = """<script>
      const out = document.documentElement.dataset;
      const mark = document.querySelector("#lanes use");
      const before = mark.getAttribute("transform");
      document.querySelector("[data-zoom=in]").click();
      out.moved = mark.getAttribute("transform") !== before;
      document.querySelector("[data-zoom=all]").click();
      out.back = mark.getAttribute("transform") === before;
      const choice = document.getElementById("heat-machine");
      choice.value = "sql-01";
      choice.dispatchEvent(new Event("change"));
      out.panels = document.querySelectorAll(".heat:not([hidden])").length;
      const image = document.querySelector(".heat:not([hidden]) img");
      const box = image.getBoundingClientRect();
      image.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left, clientY: box.top}));
      out.told = document.getElementById("tooltip").textContent.split("\\n").pop();
      const find = document.getElementById("find");
      find.value = "sql-01 retry";
      find.dispatchEvent(new Event("input"));
      out.none = document.getElementById("shown").textContent;
      find.value = "sql-01";
      find.dispatchEvent(new Event("input"));
      out.found = document.getElementById("shown").textContent;
      find.value = "sql-01 tracker-lost";
      find.dispatchEvent(new Event("input"));
      out.reason = document.getElementById("shown").textContent;
      const skew = document.querySelectorAll("#point-table th")[8];
      skew.click();
      const ordered = [...document.querySelectorAll("#point-table tbody tr:not([hidden])")]
        .map((row) => Number(row.cells[8].textContent.replace(",", "")));
      out.ordered = ordered.every((value, at) => at === 0 || ordered[at - 1] <= value);
    </script></body>"""

    page = acts.join(render_report(busy_night()).rsplit("</body>", 1))

    shown = _shown(page, tmp_path)
    root = re.search(r"<html[^>]*>", shown)

    assert root is not None
    assert dict(re.findall(r'data-([a-z]+)="([^"]*)"', root[0])) == {
        "errors": "0",
        "ready": "3",
        "moved": "true",
        "back": "true",
        "panels": "2",
        "told": "changed",
        "none": "0 of 156",
        "found": "13 of 156",
        "reason": "1 of 156",
        "ordered": "true",
    }


def test_a_browser_shows_a_hostile_name_as_text(tmp_path: Path) -> None:
    """A machine's name that is markup is shown, not obeyed, by lanes, charts and tables."""
    names = (HOSTILE, *NAMES[1:], *NAMES_MORE)

    shown = _shown(render_report(busy_night(names=names)), tmp_path)

    assert "<title>A busy night" in shown
    assert "<img src=x" not in shown
    assert '<img src="x"' not in shown
    assert 'data-errors="0"' in shown
    assert "&lt;img src=x" in shown


def test_a_browser_draws_a_night_in_which_nothing_happened(tmp_path: Path) -> None:
    """A night without machines or events has a page that draws without an error."""
    shown = _shown(render_report(busy_night(names=())), tmp_path)

    assert 'data-errors="0"' in shown
    assert 'data-ready="3"' in shown
