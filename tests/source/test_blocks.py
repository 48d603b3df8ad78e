"""Blocks are the top-level definitions that Python itself sees, and blanking them out moves no line."""

from __future__ import annotations

import ast
import itertools
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libraries import python_files, text_of

from bufaudit.source.blocks import Block, blocks, skeleton

LIBRARIES = ("transformers", "torch", "stdlib")


def parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def lines_of(text: str, block: Block) -> tuple[int, int]:
    return text.count("\n", 0, block.start) + 1, text[: block.end].rstrip().count("\n") + 1


def expected_starts(text: str) -> list[int]:
    definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return [node.lineno for node in parsed(text).body if isinstance(node, definitions)]


def assert_blocks_are_definitions(text: str) -> None:
    assert [lines_of(text, block)[0] for block in blocks(text)] == expected_starts(text)


def test_blocks_end_where_the_next_statement_begins() -> None:
    text = "import a\n\n\nclass A:\n    x = 1\n\n    def m(self): ...\n\n\nx = 2\n\n\nasync def f():\n    pass\n"
    first, second = blocks(text)
    assert text[first.start : first.end].rstrip().startswith("class A:")
    assert text[first.start : first.end].rstrip().endswith("def m(self): ...")
    assert text[second.start : second.end] == "async def f():\n    pass\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "class A: pass",
        "class A: pass\nclass B: pass",
        "def f():\n    return 1\n# a comment\n    # one more\n    # and the body is over\nclass A: pass",
        's = """\nclass A:\n    pass\n"""\nclass B: pass',
        "s = '''\ndef f(): \\'''\nclass A:\n'''\nclass B: pass",
        "def f():\n    '''\nclass A:\n    '''\n\nclass B: pass",
        "s = '\\\nclass A: pass'\nclass B: pass",
        "s = r'\\''  # '\nclass B: pass",
        "s = r'''\\\\'''\nclass B: pass",
        "s = \"it's\"  # don't\nclass B: pass",
        "s = 'a\"b'\nt = \"a'b\"\nclass B: pass",
        "s = 1  # '''\nclass A: pass\n# '''\nclass B: pass",
        "s = 1  # ends in a backslash \\\nclass A: pass",
        "x = 1 + \\\n    2\nclass A: pass",
        "def f():\n    x = \\\nmodel.parameters()\n\nclass A: pass",
        "\\\nclass A: pass",
        "x = 1\n\\\n\\\nclass A: pass",
        "x = f'{a}' f\"{b['c']}\"\nclass A: pass",
        'x = f"""\nclass A: {a}\n"""\nclass B: pass',
        "@decorate\nclass A: pass\n@decorate(\n    'class B: pass',\n)\nasync def f(): pass",
        "class A:\n    x = 1\n\x0cclass B: pass",
        "class A:\n    x = 1\n\x0c\nclass B: pass",
        "class A:\n    x = 1\n  \x0cdef f(): pass",
        "class\tA: pass\nasync\t def\tf(): pass",
        "if x:\n    class A: pass\nelse:\n    class A: pass\nclass B: pass",
        "x = [\nclassy,\n]\nclass A: pass",
        "classes = 1\ndefine = 2\nclass_ = 3\nasync_ = 4\nclass A: pass",
        "def f(\n    a,\n):\n    pass\nclass A: pass",
        "x = (\n)\nclass A: pass",
        "class A(\n    B,\n): pass\n\n\n\nclass C: pass\n\n\n",
        "class Ä: pass\ndef ß(): pass",
        "b = b'class A' + br'\\\\'\nclass A: pass",
    ],
)
def test_nothing_fools_it(text: str) -> None:
    assert_blocks_are_definitions(text)


@pytest.mark.parametrize(
    "text",
    ['s = "', "s = '''\nclass A: pass", "class A:\n    s = '\nclass B: pass", "x = 'a\\", "\\", "\\\n", '"""\\', "#"],
)
def test_text_that_does_not_tokenize_gives_blocks_within_it(text: str) -> None:
    found = blocks(text)
    assert all(0 <= block.start < block.end <= len(text) for block in found)
    assert skeleton(text, found, ()).count("\n") == text.count("\n")


@given(st.text(alphabet="ac \\\n\"'#\x0c\t(){}[]:@", max_size=60).map(lambda s: s.replace("c", "class A: pass")))
def test_whatever_parses_has_the_definitions_that_python_sees(text: str) -> None:
    try:
        expected = expected_starts(text)
    except (SyntaxError, ValueError):
        found = blocks(text)
        assert all(one.end <= other.start for one, other in itertools.pairwise(found))
    else:
        assert [lines_of(text, block)[0] for block in blocks(text)] == expected


def test_skeleton_keeps_lines_names_headers_and_what_matters() -> None:
    text = (
        "import a\n\n@d\nclass Dull(Base, metaclass=M):\n    x = 1\n\n    y = 2\n\n\n"
        "class Telling(Base):\n    def f(self): self.register_buffer('x', 1)\n\n"
        "async def dull(\n    a, b,\n):\n    return 1\nlast = 1\n"
    )
    found = skeleton(text, blocks(text), ("register_buffer",))
    assert found.count("\n") == text.count("\n")
    before, after = parsed(text), parsed(found)
    assert [node.lineno for node in before.body] == [node.lineno for node in after.body]
    dull = after.body[1]
    assert isinstance(dull, ast.ClassDef)
    assert (dull.name, [ast.unparse(base) for base in dull.bases]) == ("Dull", ["Base"])
    assert ast.unparse(dull.decorator_list[0]) == "d"
    assert len(dull.body) == 1
    assert ast.unparse(before.body[2]) == ast.unparse(after.body[2])
    assert "return 1" not in found


@pytest.mark.parametrize("header", ["class A(B[int]):", "class A(f(x)):", "class A(  # why\n    B\n):"])
def test_class_whose_header_is_not_simple_is_left_as_it_is(header: str) -> None:
    text = f"{header}\n    x = 1\n"
    assert skeleton(text, blocks(text), ()) == text


def offences(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        text = text_of(path)
        if text is None:
            continue
        try:
            expected = expected_starts(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        definitions = blocks(text)
        if [lines_of(text, block)[0] for block in definitions] != expected:
            found.append(path)
        if skeleton(text, definitions, ()).count("\n") != text.count("\n"):
            found.append(path)
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_law_holds_over_a_sample_of_real_code(library: str) -> None:
    assert offences(python_files(library)[::40]) == []


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_law_holds_over_all_real_code(library: str) -> None:
    paths = python_files(library)
    assert len(paths) > 500
    assert offences(paths) == []
