"""The example repository shows what its README says: each planted loss is reported, each correct twin is left alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import bufaudit

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "leaky_model"
EXPECT = re.compile(r"# expect: (?P<code>[A-Z]{3}\d{3})$")
TABLE_ROW = re.compile(r"^\| (?P<code>BUF\d{3}) \| `\w+\.(?P<leaky>[\w.]+)` \| `(?P<twin>\w+)` \|", re.MULTILINE)


def marked() -> list[tuple[str, int, str]]:
    """File, line and code of each mark."""
    found = []
    for path in sorted((EXAMPLE / "leaky_model").glob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            if match := EXPECT.search(line):
                found.append((path.name, number, match["code"]))
    return found


def promised() -> list[tuple[str, str, str]]:
    """Code, leaky function and correct twin of each row of the README's table."""
    rows = TABLE_ROW.findall((EXAMPLE / "README.md").read_text("utf-8"))
    assert rows, "the README has no table of losses any more"
    return rows


@pytest.fixture(scope="module")
def scanned() -> bufaudit.ScanResult:
    return bufaudit.scan([EXAMPLE], cache=False)


def test_scan_reports_the_marked_lines_and_nothing_else(scanned: bufaudit.ScanResult) -> None:
    assert [(Path(f.path).name, f.line, f.code) for f in scanned.findings] == marked()


def test_scan_reports_each_loss_of_the_readme_in_its_function(scanned: bufaudit.ScanResult) -> None:
    assert sorted((f.code, f.symbol) for f in scanned.findings) == sorted((row[0], row[1]) for row in promised())


def test_inventory_lists_the_buffers_of_the_readme() -> None:
    listed = {
        (each.class_name, each.name, each.persistent, each.inherited_from is not None)
        for each in bufaudit.inventory([EXAMPLE], cache=False).registrations
    }
    assert listed == {
        ("TopKRouter", "e_score_correction_bias", True, False),
        ("GroupLimitedRouter", "e_score_correction_bias", True, True),
        ("GroupLimitedRouter", "expert_group", False, False),
        ("ClippedLinear", "input_min", True, False),
        ("ClippedLinear", "input_max", True, False),
        ("RotaryEmbedding", "inv_freq", False, False),
        ("LayerTypeRotaryEmbedding", "{}_inv_freq", False, False),
        ("SavedRandomFeatures", "directions", True, False),
        ("Standardizer", "mean", True, False),
        ("LoadableStandardizer", "mean", True, False),
    }


def test_inventory_names_the_initialiser_that_restores_a_buffer() -> None:
    rows = bufaudit.inventory([EXAMPLE], cache=False).registrations
    assert [each.restored_by for each in rows if each.name == "expert_group"] == ["VisionLanguageModel._init_weights"]


def test_the_losses_are_real() -> None:
    """What the scan says is true: at run time each leaky function loses state and its twin keeps it all."""
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, EXAMPLE / "show_losses.py"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for code, leaky, twin in promised():
        # Moves between devices need a second device.
        if code != "BUF401":
            tried = leaky.removesuffix(".__init__").rpartition(".")[2]
            assert re.search(rf"^{code} +{tried} +lost \d+ of \d+: ", done.stdout, re.MULTILINE)
            assert re.search(rf"^{code} +{twin} +kept all \d+$", done.stdout, re.MULTILINE)
