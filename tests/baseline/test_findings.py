"""What is known stays hidden, however lines move; one finding more is one finding reported."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bufaudit.baseline.file import BaselineError
from bufaudit.baseline.findings import (
    Baseline,
    KnownFindings,
    apply,
    baseline_of,
    read_baseline,
    write_baseline,
)
from tests.report.samples import FINDING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufaudit.results import Finding

ROOT = Path.cwd()
NOTHING: frozenset[str] = frozenset()

one_finding = st.builds(
    lambda path, code, symbol, line: replace(FINDING, path=path, code=code, symbol=symbol, line=line),
    st.sampled_from(["a.py", "src/b.py"]),
    st.sampled_from(["BUF101", "BUF301"]),
    st.sampled_from(["load", "Model.load"]),
    st.integers(1, 9),
)
some_findings = st.lists(one_finding, max_size=12)
entries = st.builds(
    KnownFindings,
    st.text(st.characters()),
    st.sampled_from(["BUF101", "BUF301"]),
    st.text(st.characters()),
    st.integers(1, 10**20),
)
baselines = st.lists(entries, unique_by=lambda entry: entry.group).map(lambda found: Baseline(tuple(sorted(found))))


def at(line: int, **changes: str) -> Finding:
    """A finding on a line."""
    return replace(FINDING, line=line, **changes)  # type: ignore[arg-type]


def known(count: int, path: str = "src/model.py") -> Baseline:
    """A baseline with as many of the sample finding."""
    return Baseline((KnownFindings(path, FINDING.code, FINDING.symbol, count),))


class TestApply:
    """Known findings are left out, new ones are not."""

    @given(some_findings, some_findings)
    def test_what_a_baseline_was_made_of_is_hidden(self, findings: list[Finding], elsewhere: list[Finding]) -> None:
        scanned = frozenset(finding.path for finding in findings)
        applied = apply(baseline_of(findings, ROOT), findings, ROOT, scanned=scanned)
        assert (applied.findings, applied.baselined) == ((), len(findings))
        assert (applied.stale, applied.ambiguous) == ((), ())
        assert apply(baseline_of(findings + elsewhere, ROOT), findings, ROOT, scanned=NOTHING).findings == ()

    @given(some_findings, st.data())
    def test_moved_lines_change_nothing(self, findings: list[Finding], data: st.DataObject) -> None:
        moved = [replace(finding, line=data.draw(st.integers(1, 99)), fingerprint="") for finding in findings]
        assert apply(baseline_of(findings, ROOT), moved, ROOT, scanned=NOTHING).findings == ()

    @given(some_findings, one_finding)
    def test_one_more_finding_is_one_reported(self, findings: list[Finding], more: Finding) -> None:
        applied = apply(baseline_of(findings, ROOT), [more, *findings], ROOT, scanned=NOTHING)
        (reported,) = applied.findings
        assert (reported.path, reported.code, reported.symbol) == (more.path, more.code, more.symbol)
        assert applied.baselined == len(findings)

    @given(some_findings, some_findings, st.data())
    def test_order_of_findings_does_not_matter(
        self, before: list[Finding], findings: list[Finding], data: st.DataObject
    ) -> None:
        baseline = baseline_of(before, ROOT)
        assert baseline == baseline_of(before[::-1], ROOT)
        shuffled = data.draw(st.permutations(findings))
        scanned = frozenset({"a.py", "src/b.py"})
        one = apply(baseline, findings, ROOT, scanned=scanned)
        other = apply(baseline, shuffled, ROOT, scanned=scanned)
        assert Counter(one.findings) == Counter(other.findings)
        assert replace(one, findings=()) == replace(other, findings=())

    @given(some_findings, some_findings)
    def test_nothing_is_lost_or_moved(self, before: list[Finding], findings: list[Finding]) -> None:
        applied = apply(baseline_of(before, ROOT), findings, ROOT, scanned=NOTHING)
        assert len(applied.findings) + applied.baselined == len(findings)
        rest = iter(findings)
        assert all(finding in rest for finding in applied.findings)

    @given(some_findings, some_findings)
    def test_empty_baseline_hides_nothing(self, before: list[Finding], findings: list[Finding]) -> None:
        assert apply(Baseline(), findings, ROOT, scanned=NOTHING).findings == tuple(findings)

    def test_last_ones_of_a_group_are_reported_and_said_to_be_uncertain(self) -> None:
        applied = apply(known(1), [at(30), at(2), at(10)], ROOT, scanned=NOTHING)
        assert [finding.line for finding in applied.findings] == [30, 10]
        assert applied.ambiguous == (
            "src/model.py: BUF101 in Loader.load: 1 known, 3 found; "
            "the last 2 by line are reported, though any of them may be new",
        )

    def test_group_that_is_all_new_is_not_uncertain(self) -> None:
        assert apply(Baseline(), [at(1), at(2)], ROOT, scanned=NOTHING).ambiguous == ()

    @pytest.mark.parametrize("change", [{"path": "other.py"}, {"code": "BUF301"}, {"symbol": "Other.load"}])
    def test_other_path_rule_or_symbol_is_new(self, change: dict[str, str]) -> None:
        finding = at(1, **change)
        assert apply(known(5), [finding], ROOT, scanned=NOTHING).findings == (finding,)

    def test_path_is_relative_to_the_root_wherever_the_scan_runs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "src").mkdir()
        baseline = baseline_of([at(1, path=os.fspath(tmp_path / "src/model.py"))], tmp_path)
        assert baseline == known(1)
        for folder, path in (
            (tmp_path, "src/model.py"),
            (tmp_path / "src", "model.py"),
            (tmp_path / "src", "./model.py"),
        ):
            monkeypatch.chdir(folder)
            assert apply(baseline, [at(1, path=path)], tmp_path, scanned=NOTHING).findings == ()
            assert baseline_of([at(1, path=path)], Path(os.path.relpath(tmp_path))) == baseline

    def test_path_outside_the_root_is_absolute(self, tmp_path: Path) -> None:
        outside = os.fspath(tmp_path / "project-2/model.py")
        assert baseline_of([at(1, path=outside)], tmp_path / "project").findings[0].path == outside


class TestStale:
    """A baseline that knows more than there is would hide what comes next."""

    SCANNED = frozenset({"src/model.py"})

    @pytest.mark.parametrize("found", [0, 1])
    def test_entry_that_knows_too_much_is_stale(self, found: int) -> None:
        applied = apply(known(2), [at(1)] * found, ROOT, scanned=self.SCANNED)
        assert applied.findings == ()
        assert applied.stale == (
            f"src/model.py: BUF101 in Loader.load: 2 known, {found} found; "
            "write the baseline again so that it hides nothing new",
        )

    def test_nothing_is_said_of_files_that_were_not_scanned(self) -> None:
        assert apply(known(2), [], ROOT, scanned=frozenset({"src/other.py"})).stale == ()

    def test_nothing_is_said_of_rules_that_did_not_run(self) -> None:
        assert apply(known(2), [], ROOT, scanned=self.SCANNED, codes=frozenset({"BUF301"})).stale == ()
        assert apply(known(2), [], ROOT, scanned=self.SCANNED, codes=frozenset({"BUF101"})).stale != ()

    @given(some_findings, some_findings)
    def test_written_again_nothing_is_stale(self, before: list[Finding], findings: list[Finding]) -> None:
        scanned = frozenset({"a.py", "src/b.py"})
        removed = Counter(_groups(before)) - Counter(_groups(findings))
        assert len(apply(baseline_of(before, ROOT), findings, ROOT, scanned=scanned).stale) == len(removed)
        assert apply(baseline_of(findings, ROOT), findings, ROOT, scanned=scanned).stale == ()

    def test_sentence_is_one_printable_line(self) -> None:
        path = "a\nb\udcff\x1b.py"
        (sentence,) = apply(known(2, path), [], ROOT, scanned=frozenset({path})).stale
        assert sentence.isprintable()


def _groups(findings: Sequence[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.path, finding.code, finding.symbol) for finding in findings]


class TestFile:
    """A baseline lives in version control, among people who merge."""

    def test_text_has_a_line_for_each_entry_in_a_stable_order(self, tmp_path: Path) -> None:
        path = tmp_path / "known.json"
        findings = [at(1, path="b.py"), at(9, path="a.py"), at(3, path="b.py"), at(5, path="b.py", code="BUF000")]
        write_baseline(path, baseline_of(findings, ROOT))
        assert path.read_bytes().decode() == (
            "{\n"
            '  "version": 1,\n'
            '  "findings": [\n'
            '    {"path": "a.py", "code": "BUF101", "symbol": "Loader.load", "count": 1},\n'
            '    {"path": "b.py", "code": "BUF000", "symbol": "Loader.load", "count": 1},\n'
            '    {"path": "b.py", "code": "BUF101", "symbol": "Loader.load", "count": 2}\n'
            "  ]\n"
            "}\n"
        )

    def test_empty_baseline_is_a_file_too(self, tmp_path: Path) -> None:
        path = tmp_path / "known.json"
        write_baseline(path, Baseline())
        assert json.loads(path.read_bytes()) == {"version": 1, "findings": []}
        assert read_baseline(path) == Baseline()

    @given(baselines)
    def test_what_is_written_is_read(self, tmp_path_factory: pytest.TempPathFactory, baseline: Baseline) -> None:
        path = tmp_path_factory.getbasetemp() / "known.json"
        write_baseline(path, baseline)
        assert read_baseline(path) == baseline

    def test_undecodable_file_name_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "known.json"
        write_baseline(path, known(1, os.fsdecode(b"caf\xe9.py")))
        assert read_baseline(path).findings[0].path == os.fsdecode(b"caf\xe9.py")

    def test_older_file_is_replaced_with_its_permissions(self, tmp_path: Path) -> None:
        path = tmp_path / "known.json"
        path.write_text("old")
        path.chmod(0o640)
        write_baseline(path, known(2))
        assert read_baseline(path) == known(2)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert os.listdir(tmp_path) == ["known.json"]

    def test_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "link.json").symlink_to("known.json")
        write_baseline(tmp_path / "link.json", known(2))
        assert (tmp_path / "link.json").is_symlink()
        assert read_baseline(tmp_path / "known.json") == known(2)

    def test_failure_leaves_the_older_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        path = tmp_path / "known.json"
        path.write_text("old")
        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(BaselineError, match=r"known\.json: cannot be written: No space left"):
            write_baseline(path, known(2))
        assert os.listdir(tmp_path) == ["known.json"]
        assert path.read_text() == "old"

    def test_missing_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(BaselineError, match="cannot be written: No such file"):
            write_baseline(tmp_path / "not-there/known.json", known(2))


ENTRY = '{"path": "a.py", "code": "BUF101", "symbol": "f", "count": 1}'


class TestUnreadable:
    """A baseline that is not understood must not pass for an empty one, nor for one that hides everything."""

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(BaselineError, match=r"known\.json: there is no such file; --write-baseline makes one"):
            read_baseline(tmp_path / "known.json")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BaselineError, match="cannot be read: Is a directory"):
            read_baseline(tmp_path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is not JSON: .*line 1 column 1"),
            ('{"version": 1,\n"findings": [}', "is not JSON: .*line 2"),
            ("<<<<<<< HEAD\n{}", "is not JSON"),
            ("[" * 100_000, "nested too deeply"),
            ("[]", "is not a baseline: it has no version"),
            ('{"findings": []}', "is not a baseline: it has no version"),
            ('{"version": 2, "findings": []}', "has version 2, this bufaudit reads 1"),
            ('{"version": "1", "findings": []}', 'has version "1", this bufaudit reads 1'),
            ('{"version": true, "findings": []}', "has version true"),
            ('{"version": 1}', "must have just a version and a list of findings"),
            ('{"version": 1, "findings": {}}', "must have just a version and a list of findings"),
            ('{"version": 1, "findings": [], "more": 1}', "must have just a version and a list of findings"),
            (f'{{"version": 1, "findings": [{ENTRY}, 3]}}', "finding 2 must have just path, code, symbol, count"),
            (f'{{"version": 1, "findings": [{ENTRY}, {ENTRY}]}}', "a.py: BUF101 in f is there twice"),
        ],
    )
    def test_wrong_form(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "known.json"
        path.write_text(text)
        with pytest.raises(BaselineError, match=rf"known\.json: .*{message}"):
            read_baseline(path)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('"a.py"', "null", "path of finding 1 must be text"),
            ('"f"', "3", "symbol of finding 1 must be text"),
            ("1}", '"1"}', "count of finding 1 must be a number"),
            ("1}", "true}", "count of finding 1 must be a number"),
            ("1}", "0}", "count of finding 1 must be at least 1"),
            ('"symbol"', '"line"', "finding 1 must have just"),
            ("1}", '1, "line": 3}', "finding 1 must have just"),
        ],
    )
    def test_wrong_entry(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        assert old in ENTRY
        path = tmp_path / "known.json"
        path.write_text(f'{{"version": 1, "findings": [{ENTRY.replace(old, new)}]}}')
        with pytest.raises(BaselineError, match=message):
            read_baseline(path)

    def test_bytes_that_are_not_utf_8(self, tmp_path: Path) -> None:
        path = tmp_path / "known.json"
        path.write_bytes(b'{"version": 1, "findings": ["\xe9"]}')
        with pytest.raises(BaselineError, match="is not JSON"):
            read_baseline(path)
