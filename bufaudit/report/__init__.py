"""Results in, bytes out: every output format of every command.

Each format is a module with one pure function from a result to text, imported only when it is asked for.
All of them give UTF-8, the same for the same input, whatever a file is called or a line of source contains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set
    from pathlib import Path

    from bufaudit.baseline.losses import Loss
    from bufaudit.catalogue import Rule
    from bufaudit.outcomes import ModelReport, ProbeResult, VerifyResult
    from bufaudit.results import InventoryResult, ScanResult

SCAN_FORMATS = ("full", "concise", "json", "jsonl", "sarif", "github", "gitlab", "junit")
INVENTORY_FORMATS = ("table", "json", "csv")
PROBE_FORMATS = ("text", "json")
RULE_FORMATS = ("text", "json", "markdown")


def render_scan(
    result: ScanResult,
    format: str,
    *,
    rules: Mapping[str, Rule],
    statistics: bool = False,
    color: bool = False,
    width: int = 80,
    base: Path,
) -> bytes:
    """A scan's findings in one of `SCAN_FORMATS`.

    `rules` are described in `sarif`, which also needs `base`: the absolute folder that the paths of findings
    are relative to. `color` and `width` (in terminal cells) matter to `full` alone. With `statistics`, `full`
    and `concise` give a count per rule instead of findings and `json` adds `summary.statistics`; the other
    formats have no place for it and stay as they are. `result.warnings` are for the caller to show; only
    `sarif` repeats them.

    Raises `ValueError` for an unknown format, and for `sarif` where `base` is not absolute.
    """
    return _scan_text(result, format, rules, statistics, color, width, base).encode()


def _scan_text(
    result: ScanResult,
    format: str,
    rules: Mapping[str, Rule],
    statistics: bool,
    color: bool,
    width: int,
    base: Path,
) -> str:
    match format:
        case "full":
            from bufaudit.report import full

            return full.render(result, statistics=statistics, color=color, width=width)
        case "concise":
            from bufaudit.report import concise

            return concise.render(result, statistics=statistics)
        case "json":
            from bufaudit.report import scan_json

            return scan_json.render(result, statistics=statistics)
        case "jsonl":
            from bufaudit.report import scan_jsonl

            return scan_jsonl.render(result)
        case "sarif":
            from bufaudit.report import sarif

            return sarif.render(result, rules=rules, base=base)
        case "github":
            from bufaudit.report import github

            return github.render(result)
        case "gitlab":
            from bufaudit.report import gitlab

            return gitlab.render(result)
        case "junit":
            from bufaudit.report import junit

            return junit.render(result)
    raise _unknown(format, SCAN_FORMATS)


def render_inventory(result: InventoryResult, format: str, *, color: bool = False, width: int = 80) -> bytes:
    """An inventory in one of `INVENTORY_FORMATS`.

    `color` and `width` (in terminal cells) matter to `table` alone. Raises `ValueError` for an unknown
    format.
    """
    match format:
        case "table":
            from bufaudit.report import inventory_table

            return inventory_table.render(result, color=color, width=width).encode()
        case "json":
            from bufaudit.report import inventory_json

            return inventory_json.render(result).encode()
        case "csv":
            from bufaudit.report import inventory_csv

            return inventory_csv.render(result).encode()
    raise _unknown(format, INVENTORY_FORMATS)


def render_probe(
    result: ProbeResult, format: str, *, known: Set[Loss] = frozenset(), color: bool = False, width: int = 80
) -> bytes:
    """What `probe` found, in one of `PROBE_FORMATS`.

    `known` are losses that a baseline has: `text` only counts them, `json` marks them. `color` and `width` (in terminal
    cells) matter to `text` alone. `result.warnings` are for the caller to show. Raises `ValueError` for an unknown
    format.
    """
    return _outcomes(result.models, format, known, color, width).encode()


def render_verify(
    result: VerifyResult, format: str, *, known: Set[Loss] = frozenset(), color: bool = False, width: int = 80
) -> bytes:
    """What `verify` found, in one of `PROBE_FORMATS`; all else is as in `render_probe`."""
    return _outcomes(result.models, format, known, color, width).encode()


def _outcomes(models: Sequence[ModelReport], format: str, known: Set[Loss], color: bool, width: int) -> str:
    match format:
        case "text":
            from bufaudit.report import probe_text

            return probe_text.render(models, known=known, color=color, width=width)
        case "json":
            from bufaudit.report import probe_json

            return probe_json.render(models, known=known)
    raise _unknown(format, PROBE_FORMATS)


def render_rule(rule: Rule, format: str, *, color: bool = False, width: int = 80) -> bytes:
    """One rule's page in one of `RULE_FORMATS`.

    `color` and `width` (in terminal cells) matter to `text` alone. Raises `ValueError` for an unknown format.
    """
    match format:
        case "text":
            from bufaudit.report import rule_text

            return rule_text.render_page(rule, color=color, width=width).encode()
        case "json":
            from bufaudit.report import rule_json

            return rule_json.render_page(rule).encode()
        case "markdown":
            from bufaudit.report import rule_markdown

            return rule_markdown.render_page(rule).encode()
    raise _unknown(format, RULE_FORMATS)


def render_rules(rules: Mapping[str, Rule], format: str, *, color: bool = False, width: int = 80) -> bytes:
    """All rules, in their order, in one of `RULE_FORMATS`: as a table, or in JSON with every page.

    `color` and `width` (in terminal cells) matter to `text` alone. Raises `ValueError` for an unknown format.
    """
    match format:
        case "text":
            from bufaudit.report import rule_text

            return rule_text.render_list(tuple(rules.values()), color=color, width=width).encode()
        case "json":
            from bufaudit.report import rule_json

            return rule_json.render_list(tuple(rules.values())).encode()
        case "markdown":
            from bufaudit.report import rule_markdown

            return rule_markdown.render_list(tuple(rules.values())).encode()
    raise _unknown(format, RULE_FORMATS)


def _unknown(format: str, known: tuple[str, ...]) -> ValueError:
    return ValueError(f"unknown output format {format!r}; known are {', '.join(known)}")
