"""Blocks are the definitions that Python itself sees, and blanking them out moves no line."""

from __future__ import annotations

import ast
import itertools
import textwrap
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libraries import python_files, text_of

from bufaudit.source.blocks import Block, Gate, Reach, any_match, any_word, blocks, methods, skeleton

LIBRARIES = ("transformers", "torch", "stdlib")


def parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def lines_of(text: str, block: Block) -> tuple[int, int]:
    return text.count("\n", 0, block.start) + 1, text[: block.end].rstrip().count("\n") + 1


def lines_of_definitions(body: list[ast.stmt]) -> list[int]:
    definitions = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return [node.lineno for node in body if isinstance(node, definitions)]


def expected_starts(text: str) -> list[int]:
    return lines_of_definitions(parsed(text).body)


def expected_methods(text: str) -> list[list[int]]:
    return [lines_of_definitions(node.body) for node in parsed(text).body if isinstance(node, ast.ClassDef)]


def found_methods(text: str) -> list[list[int]]:
    classes = [block for block in blocks(text) if text.startswith("class", block.start)]
    return [[lines_of(text, method)[0] for method in methods(text, block)] for block in classes]


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
    found = skeleton(text, blocks(text), (Gate(any_word("register_buffer")),))
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


@pytest.mark.parametrize(
    "body",
    [
        "x = 1\n\ndef f(self): pass\n",
        "# a comment\n\n  # another\n'text'\ndef f(self): pass",
        "def f(\n    self,\n):\n    pass\nasync  def\tg(self):\n    return 1\n",
        "@property\ndef f(self):\n    def inner(): pass\n    return inner\n@f.setter\ndef f(self, x): pass",
        "s = '''\ndef f(self): pass\n'''\ndef g(self): pass",
        "x = [\ndefault,\n]\nclass Inner:\n    def f(self): pass\n\ndef f(self): pass",
        "if x:\n    def f(self): pass\nelse:\n    def g(self): pass\ndef h(self): pass",
        "def f(self):\n    x = 1 + \\\nmodel.parameters()\n\ndef g(self): pass",
        "def f(self):\n    return '''\nx'''  # '''\ndef g(self): pass",
    ],
)
@pytest.mark.parametrize("indent", ["    ", " ", "\t"])
@pytest.mark.parametrize("header", ["class A:", "class A(B, metaclass=C):  # why", "class A(\n    B,\n):"])
def test_methods_of_a_class(header: str, indent: str, body: str) -> None:
    text = f"x = 1\n{header}\n{textwrap.indent(body, indent)}\ndef after(): pass\n"
    assert found_methods(text) == expected_methods(text) != [[]]


@pytest.mark.parametrize(
    "text",
    [
        "class A: pass",
        "class A: x = 1; y = 2\ndef f(): pass",
        "class A(f(x)):\n    def f(self): pass",
        "class A:\n    \\\n    def f(self): pass",
        "class A:\n    x = 1\n  \x0c    def f(self): pass",
        "class A:\n \tdef f(self): pass",
        "class A:  # only\n    # comments",
    ],
)
def test_class_of_unusual_layout_has_no_methods(text: str) -> None:
    assert found_methods(text) == [[]]


_PIECES = (
    "x = 1", "def f(self): pass", "def f(self):", "async def g(self):", "class B:", "@d", "if x:", "pass",
    "'", '"', "'''", '"""', "#", "(", ")", "[", "]", "\\", "\n", "\n    ", "\n        ", "\n\t", "\x0c", " ",
)  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=25).map("".join))
def test_methods_are_those_that_python_sees_or_the_first_of_them(body: str) -> None:
    text = f"class A:\n    {body}\n"
    try:
        expected = expected_methods(text)
    except (SyntaxError, ValueError):
        found_methods(text)
    else:
        assert all(found == wanted[: len(found)] for found, wanted in zip(found_methods(text), expected, strict=True))


_METHODS = """\
class A(B):
    y = 1

    def __init__(self):
        return {0}

    @d
    async def f(self):
        return {1}

    def g(self, a=2):
        return 3
"""


@pytest.mark.parametrize(
    ("reach", "word_in", "kept"),
    [
        ("class", 0, "__init__ f g"),
        ("class", 1, "__init__ f g"),
        ("method", 0, "__init__"),
        ("method", 1, "f"),
        ("constructor", 0, "__init__"),
        ("constructor", 1, "__init__ f g"),
    ],
)
def test_reach_of_a_gate_says_which_methods_are_kept(reach: Reach, word_in: int, kept: str) -> None:
    text = _METHODS.format(*("word" if index == word_in else "other" for index in range(2)))
    found = skeleton(text, blocks(text), (Gate(any_match("w.rd"), reach), Gate(any_word("absent"))))
    assert found.count("\n") == text.count("\n")
    (node,) = parsed(found).body
    assert isinstance(node, ast.ClassDef)
    own = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [child.name for child in own] == ["__init__", "f", "g"]
    assert [child.lineno for child in own] == [4, 8, 11]
    assert " ".join(child.name for child in own if isinstance(child.body[0], ast.Return)) == kept


def test_gates_of_several_reaches_keep_what_any_of_them_needs() -> None:
    text = _METHODS.format("one", "two")
    one, two = Gate(any_word("one"), reach="constructor"), Gate(any_word("two"), reach="method")
    assert "3" not in skeleton(text, blocks(text), (one, two))
    assert skeleton(text, blocks(text), (one, two, Gate(any_word("y =")))) == text


def offences(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        text = text_of(path)
        if text is None:
            continue
        try:
            expected = expected_starts(text)
            expected_below = expected_methods(text)
        except (SyntaxError, ValueError, RecursionError):
            continue
        definitions = blocks(text)
        if [lines_of(text, block)[0] for block in definitions] != expected:
            found.append(path)
        if any(
            below != wanted[: len(below)] for below, wanted in zip(found_methods(text), expected_below, strict=True)
        ):
            found.append(path)
        if skeleton(text, definitions, ()).count("\n") != text.count("\n"):
            found.append(path)
        if not keeps_methods_with("return", text):
            found.append(path)
    return found


def keeps_methods_with(word: str, text: str) -> bool:
    """Whether a gate for a word leaves each method that holds it as it is; what does not parse is read whole."""
    source = skeleton(text, blocks(text), (Gate(any_word(word), reach="method"),))
    try:
        after = parsed(source)
    except SyntaxError:
        return True
    before = parsed(text)
    pairs = zip(methods_by_class(before), methods_by_class(after), strict=True)
    return source.count("\n") == text.count("\n") and all(
        one.name == other.name
        and (ast.dump(one) == ast.dump(other) or not any(word in ast.unparse(s) for s in one.body))
        for one, other in itertools.chain.from_iterable(zip(*pair, strict=True) for pair in pairs if pair[1])
    )


def methods_by_class(tree: ast.Module) -> list[list[ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The methods of each top-level class."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return [
        [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)] for node in classes
    ]


@pytest.mark.parametrize("library", LIBRARIES)
def test_law_holds_over_a_sample_of_real_code(library: str) -> None:
    assert offences(python_files(library)[::40]) == []


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_law_holds_over_all_real_code(library: str) -> None:
    paths = python_files(library)
    assert len(paths) > 500
    assert offences(paths) == []
