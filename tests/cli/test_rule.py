"""`bufaudit rule`: one page or the list, by code or by name."""

from __future__ import annotations

import json

import pytest

from bufaudit.catalogue import HEADINGS, rules
from bufaudit.cli import run

from .support import complaint


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["rule", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("wanted", ["BUF101", "buf101", "params-only-load", "Params-Only-Load"])
def test_by_code_or_name_in_any_case(capsys: pytest.CaptureFixture[str], wanted: str) -> None:
    text = printed(capsys, wanted)
    assert "BUF101" in text
    assert "params-only-load" in text


def test_a_page_has_all_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "BUF101", "--output-format=markdown")
    assert all(heading in text for heading in HEADINGS)


def test_brackets_and_code_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    rule = rules()["BUF101"]
    text = printed(capsys, "BUF101")
    for line in rule.code_blocks("Example")[0].splitlines():
        assert line.strip() in text


def test_the_list_has_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys).splitlines()[1:]
    assert [line.split()[0] for line in lines if line[:3] in ("BUF", "CKP")] == list(rules())


def test_the_list_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(printed(capsys, "--output-format=json"))
    assert [rule["code"] for rule in content["rules"]] == list(rules())


def test_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean params-only-load?" in complaint(capsys, "rule", "param-only-load")
    assert "`bufaudit rule` lists them all" in complaint(capsys, "rule", "zzz")
    assert "Did you mean 'markdown'?" in complaint(capsys, "rule", "BUF101", "--output-format=markdwon")
