"""No file name or source line may break an encoder, a line or a terminal."""

from __future__ import annotations

import os

from hypothesis import given

from bufaudit.report.escapes import encodable, printable

from .samples import plain_texts, texts


def test_undecodable_bytes_show_as_bytes() -> None:
    name = b"caf\xe9.py".decode("utf-8", "surrogateescape")
    assert encodable(name) == printable(name) == "caf\\xe9.py"


def test_control_and_bidirectional_characters_are_spelled_out() -> None:
    assert printable("a\nb\x1b[31m\x9b\u202e") == "a\\nb\\x1b[31m\\x9b\\u202e"


def test_kept_characters_stay() -> None:
    assert printable("a\r\n\x07", keep="\r\n") == "a\r\n\\x07"


def test_windows_separators_and_other_scripts_stay() -> None:
    assert printable("src\\模型 é.py") == "src\\模型 é.py"


@given(texts)
def test_printable_text_is_one_line_that_encodes(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(texts, texts)
def test_encodable_text_encodes_character_by_character(first: str, second: str) -> None:
    encodable(first + second).encode()
    assert encodable(first + second) == encodable(first) + encodable(second)


@given(plain_texts)
def test_what_utf8_can_hold_is_unchanged(text: str) -> None:
    assert encodable(text) == text


def test_names_of_the_file_system_are_covered() -> None:
    assert encodable(os.fsdecode(b"\xff")).encode() == b"\\xff"
