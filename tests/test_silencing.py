"""What ignore comments silence in a scan, and which comments are reported themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import bufaudit

if TYPE_CHECKING:
    from pathlib import Path

LOOP = "    for ema_param, param in zip(ema_model.parameters(), model.parameters()):"
START = "class Average(Callback):\n  def update_ema(self, ema_model, model, decay):\n"
END = "        ema_param.lerp_(param, 1.0 - decay)\n"
SAVE = """
def save(model, path):
    state = {"step": model.state_dict()["step"]}
    for name, parameter in model.named_parameters():
        state[name] = parameter
    torch.save(state, path)
"""


def scan(folder: Path, text: str, **overrides: Any) -> bufaudit.ScanResult:
    path = folder / "ema.py"
    path.write_text(text, "utf-8")
    return bufaudit.scan([path], cache=False, **overrides)


def found(folder: Path, text: str, **overrides: Any) -> list[str]:
    """The codes that a scan of a text reports."""
    return [finding.code for finding in scan(folder, text, **overrides).findings]


def average(comment: str = "", *, above: str = "", first: str = "") -> str:
    """An average that breaks BUF302 in its loop, with a comment at the loop's end, above it, or in the first line."""
    return f"{first}\n{START}{above}\n{LOOP}{comment}\n{END}"


def test_without_a_comment_it_is_found(tmp_path: Path) -> None:
    assert found(tmp_path, average()) == ["BUF302"]


class TestSilences:
    @pytest.mark.parametrize(
        "comment",
        [
            "  # bufaudit: ignore[BUF302]",
            "  # bufaudit: ignore[BUF302] the model has no buffers",
            "  # bufaudit: ignore",
            "  # noqa: BUF302",
            "  # noqa: E501, BUF302",
            "  # noqa",
            "  # type: ignore  # bufaudit: ignore[BUF302]",
        ],
    )
    def test_on_the_line(self, tmp_path: Path, comment: str) -> None:
        result = scan(tmp_path, average(comment))
        assert (result.findings, result.suppressed) == ((), 1)

    @pytest.mark.parametrize("comment", ["# bufaudit: ignore[BUF302] why", "# bufaudit: ignore"])
    def test_alone_on_the_line_above(self, tmp_path: Path, comment: str) -> None:
        assert found(tmp_path, average(above=f"    {comment}")) == []

    def test_above_with_other_comments_and_blank_lines_between(self, tmp_path: Path) -> None:
        assert found(tmp_path, average(above="    # bufaudit: ignore[BUF302]\n    # the model is small\n")) == []

    @pytest.mark.parametrize("comment", ["# bufaudit: ignore-file[BUF302] why", "# bufaudit: ignore-file"])
    def test_for_the_file(self, tmp_path: Path, comment: str) -> None:
        assert found(tmp_path, average(first=comment)) == []
        assert found(tmp_path, average() + comment) == []

    @pytest.mark.parametrize("line", range(4))
    def test_on_any_line_of_the_statement(self, tmp_path: Path, line: int) -> None:
        lines = [
            "    for ema_param, param in zip(",
            "        ema_model.parameters(),",
            "        model.parameters(),",
            "    ):",
        ]
        assert found(tmp_path, START + "\n".join(lines) + "\n" + END) == ["BUF302"]
        lines[line] += "  # bufaudit: ignore[BUF302]"
        assert found(tmp_path, START + "\n".join(lines) + "\n" + END) == []

    def test_alone_inside_the_statement(self, tmp_path: Path) -> None:
        loop = "    for ema_param, param in zip(\n        # bufaudit: ignore[BUF302]\n"
        loop += "        ema_model.parameters(), model.parameters()\n    ):\n"
        assert found(tmp_path, START + loop + END) == []

    def test_one_comment_for_several_rules(self, tmp_path: Path) -> None:
        text = average() + SAVE
        assert found(tmp_path, text) == ["BUF302", "BUF201"]
        assert found(tmp_path, "# bufaudit: ignore-file[BUF201, BUF302]\n" + text) == []

    def test_a_comment_for_a_file_that_does_not_parse(self, tmp_path: Path) -> None:
        assert found(tmp_path, "broken = (\n") == ["BUF000"]
        assert found(tmp_path, "# bufaudit: ignore-file[BUF000] a template\nbroken = (\n") == []


class TestDoesNotSilence:
    @pytest.mark.parametrize(
        ("comment", "also"),
        [
            ("  # bufaudit: ignore[BUF201]", ["BUF001"]),
            ("  # noqa: E501", []),
            ("  # noqa: BUF201", ["BUF001"]),
            ("  # bufaudit ignore", []),
            ("  # write `# bufaudit: ignore[BUF302]` to silence it", []),
            ("  # bufaudit: ignore BUF302", ["BUF001"]),
        ],
    )
    def test_another_comment(self, tmp_path: Path, comment: str, also: list[str]) -> None:
        assert sorted(found(tmp_path, average(comment))) == sorted(["BUF302", *also])

    def test_a_string(self, tmp_path: Path) -> None:
        assert found(tmp_path, average(above='    text = """\n    # bufaudit: ignore[BUF302]\n    """')) == ["BUF302"]

    def test_the_body_of_the_loop(self, tmp_path: Path) -> None:
        """The finding stands on the loop's header; a comment in the body is about something else."""
        text = average().replace(END, END.rstrip() + "  # bufaudit: ignore[BUF302]\n")
        assert sorted(found(tmp_path, text)) == ["BUF001", "BUF302"]

    def test_the_line_above_that_has_code(self, tmp_path: Path) -> None:
        text = average(above="    count = 1  # bufaudit: ignore[BUF302]")
        assert sorted(found(tmp_path, text)) == ["BUF001", "BUF302"]


def complaints(folder: Path, text: str, **overrides: Any) -> list[tuple[int, str]]:
    """Line and message of each BUF001."""
    result = scan(folder, text, **overrides)
    return [(finding.line, finding.message) for finding in result.findings if finding.code == "BUF001"]


class TestComplaints:
    @pytest.mark.parametrize(
        ("comment", "message"),
        [
            ("ignore[BUF101]", "this ignore comment silences nothing: BUF101 is not found here"),
            ("ignore[BUF101, BUF201]", "this ignore comment silences nothing: BUF101, BUF201 are not found here"),
            ("ignore", "this ignore comment silences nothing"),
            ("ignore[BUF1O1]", "this ignore comment names no rule: BUF1O1; did you mean BUF101?"),
            ("ignore[W191]", "this ignore comment names no rule: W191"),
            ("ignore[]", "this ignore comment is not understood: the brackets name no rule"),
            ("ignore[BUF101", "this ignore comment is not understood: the bracket is never closed"),
            ("ignore BUF101", "this ignore comment is not understood: write the codes in brackets: ignore[BUF101]"),
            ("off", "this ignore comment is not understood: write ignore or ignore-file after `bufaudit:`, not 'off'"),
        ],
    )
    def test_message(self, tmp_path: Path, comment: str, message: str) -> None:
        assert complaints(tmp_path, f"x = 1\ny = 2  # bufaudit: {comment}\n") == [(2, message)]

    def test_stands_on_the_comment(self, tmp_path: Path) -> None:
        (finding,) = scan(tmp_path, "y = 2  # bufaudit: ignore[BUF101] why\n").findings
        assert (finding.column, finding.end_column, finding.severity) == (8, 38, "warning")

    def test_of_several_codes_the_unused_one(self, tmp_path: Path) -> None:
        text = average("  # bufaudit: ignore[BUF302, BUF101]")
        assert [message for _, message in complaints(tmp_path, text)] == [
            "this ignore comment silences less than it says: BUF101 is not found here"
        ]

    def test_unused_for_the_file(self, tmp_path: Path) -> None:
        assert len(complaints(tmp_path, "# bufaudit: ignore-file[BUF101]\nx = 1\n")) == 1

    def test_above_nothing(self, tmp_path: Path) -> None:
        assert len(complaints(tmp_path, "x = 1\n# bufaudit: ignore[BUF101]\n")) == 1

    def test_a_second_comment_for_one_finding_is_used_too(self, tmp_path: Path) -> None:
        text = average("  # bufaudit: ignore[BUF302]", first="# bufaudit: ignore-file[BUF302]")
        assert complaints(tmp_path, text) == []

    @pytest.mark.parametrize("comment", ["noqa", "noqa: E501", "noqa: F401, E501"])
    def test_what_speaks_to_other_linters_is_none_of_ours(self, tmp_path: Path, comment: str) -> None:
        assert complaints(tmp_path, f"x = 1  # {comment}\n") == []

    def test_noqa_for_our_rule_is_ours(self, tmp_path: Path) -> None:
        assert len(complaints(tmp_path, "x = 1  # noqa: E501, BUF101\n")) == 1

    @pytest.mark.parametrize(
        "text",
        [
            "x = 1  # bufaudit: ignore[BUF101, BUF001]\n",
            "# bufaudit: ignore-file[BUF001]\nx = 1  # bufaudit: ignore[BUF101]\n",
            "# bufaudit: ignore[BUF001]\nx = 1  # bufaudit: ignore[BUF999]\n",
        ],
    )
    def test_can_be_silenced_by_name(self, tmp_path: Path, text: str) -> None:
        assert found(tmp_path, text) == []

    def test_a_bare_comment_does_not_silence_the_complaint_about_itself(self, tmp_path: Path) -> None:
        assert found(tmp_path, "# bufaudit: ignore-file\nx = 1\n") == ["BUF001"]


class TestUseInPartOfTheRules:
    """A comment is unused only if everything that it names was looked for."""

    LOW = "import torch\n\n\ndef load(model, path):\n"
    LOW += "    model.load_state_dict(torch.load(path), strict=False)  # bufaudit: ignore[BUF104]\n"

    def test_a_low_confidence_finding_counts_as_use(self, tmp_path: Path) -> None:
        """Else the comment would have to come and go with the level that is shown."""
        assert found(tmp_path, self.LOW.replace("  # bufaudit: ignore[BUF104]", ""), min_confidence="low") == ["BUF104"]
        assert found(tmp_path, self.LOW) == []
        assert found(tmp_path, self.LOW, min_confidence="high") == []

    @pytest.mark.parametrize("settings", [{"select": ["BUF0"]}, {"select": ["BUF001"]}, {"ignore": ["BUF302"]}])
    def test_a_rule_that_was_not_looked_for(self, tmp_path: Path, settings: dict[str, list[str]]) -> None:
        for comment in ("  # bufaudit: ignore[BUF302]", "  # noqa: BUF302", "  # bufaudit: ignore"):
            assert found(tmp_path, average(comment), **settings) == []
        assert found(tmp_path, "x = 1  # bufaudit: ignore[BUF302]\n", **settings) == []
        assert found(tmp_path, "x = 1  # bufaudit: ignore\n", **settings) == []

    def test_of_several_codes_those_that_were_looked_for(self, tmp_path: Path) -> None:
        text = "x = 1  # bufaudit: ignore[BUF302, BUF101]\n"
        (finding,) = scan(tmp_path, text, select=["BUF001", "BUF101"]).findings
        assert finding.message == "this ignore comment silences nothing: BUF101 is not found here"

    def test_what_is_broken_is_told_all_the_same(self, tmp_path: Path) -> None:
        assert found(tmp_path, "x = 1  # bufaudit: ignore[BUF999]\n", select=["BUF001"]) == ["BUF001"]

    def test_per_file_ignores_do_not_make_a_comment_unused(self, tmp_path: Path) -> None:
        text = average("  # bufaudit: ignore[BUF302]")
        assert found(tmp_path, text, per_file_ignores={"ema.py": ["BUF302"]}) == []

    def test_complaints_obey_the_selection(self, tmp_path: Path) -> None:
        assert found(tmp_path, "x = 1  # bufaudit: ignore[BUF101]\n", ignore=["BUF001"]) == []

    def test_only_what_was_looked_for_counts_as_suppressed(self, tmp_path: Path) -> None:
        text = average("  # bufaudit: ignore[BUF302]")
        assert scan(tmp_path, text).suppressed == 1
        assert scan(tmp_path, text, select=["BUF201"]).suppressed == 0


def test_rule_may_be_called_by_its_name(tmp_path: Path) -> None:
    assert found(tmp_path, average("  # bufaudit: ignore[params-only-average] no buffers")) == []
    assert found(tmp_path, average("  # bufaudit: ignore[params-only-load]")) == ["BUF302", "BUF001"]
