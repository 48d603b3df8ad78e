"""Real Python files changed at random, most of them so that they still parse: inputs for laws and for fuzzing.

A `Recipe` says which text of a `Sources` is taken and what is done to it, each step with a seed of its own, so that
the same recipe over the same texts always gives the same bytes, and a part of a recipe is a smaller one.
"""

from __future__ import annotations

import ast
import copy
import keyword
import re
import warnings
from dataclasses import dataclass
from functools import cache, cached_property
from random import Random
from typing import TYPE_CHECKING

from bufaudit import catalogue
from bufaudit.source import vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Characters of a text that are taken at most, but for one in twenty.
_PIECE = 6_000
#: Characters of an input: a step that makes it longer, by putting much into itself, is left out.
_LARGEST = 200_000
_WORD = re.compile(r"[^\W\d]\w*")
_TOKEN = re.compile(r"[^\W\d]\w*|\d[\w.]*|[ \t]+|\n[ \t]*|\"{3}|'{3}|\W")
_TOP_LEVEL = re.compile(r"^(?=(?:@|class |def |async def |import |from ))", re.MULTILINE)

Step = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one input is made: the position of a text, the seed of the piece that is taken of it, and the steps."""

    text: int
    piece: int
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Sources:
    """The texts that inputs are made from."""

    texts: Sequence[str]
    words: Sequence[str]

    def piece(self, index: int, seed: int) -> str:
        """A text, or neighbouring top-level statements of a long one below its imports."""
        text = self.texts[index % len(self.texts)]
        random = Random(seed)
        if len(text) <= _PIECE or random.random() < 0.05:
            return text
        parts = self._parts(index % len(self.texts))
        head = [part for part in parts[:40] if part.startswith(("import ", "from "))]
        start = random.randrange(len(parts))
        taken: list[str] = []
        size = 0
        for part in parts[start:]:
            if taken and size + len(part) > _PIECE:
                break
            taken.append(part[: 4 * _PIECE])
            size += len(part)
        return "".join((*head, *taken))

    def other(self, random: Random) -> str:
        """A piece of any text."""
        return self.piece(random.randrange(len(self.texts)), random.getrandbits(32))

    def _parts(self, index: int) -> list[str]:
        if index not in self._split:
            self._split[index] = [part for part in _TOP_LEVEL.split(self.texts[index]) if part]
        return self._split[index]

    @cached_property
    def _split(self) -> dict[int, list[str]]:
        return {}


@cache
def vocabulary_words() -> tuple[str, ...]:
    """The words that rules look for: those of the vocabulary, and those that the rules' pages use in their examples."""
    words = {
        "to_empty", "empty_like", "half", "sleep", "wake_up", "named_parameters", "register_buffer", "nn", "Buffer",
        "persistent", "state_dict", "load_state_dict", "_init_weights", "isinstance", "super", "self", "cls",
    }  # fmt: skip
    for value in vars(vocabulary).values():
        if isinstance(value, frozenset | tuple | dict):
            words.update(str(word) for word in value)
    for rule in catalogue.rules().values():
        for heading in catalogue.HEADINGS:
            for code in rule.code_blocks(heading):
                words.update(_WORD.findall(code))
    return tuple(sorted(word for word in words if word.isidentifier() and not keyword.iskeyword(word)))


def made(recipe: Recipe, sources: Sources) -> bytes:
    """The input of a recipe."""
    text = sources.piece(recipe.text, recipe.piece)
    for name, seed in recipe.steps:
        if name in TEXT_STEPS:
            try:
                changed = TEXT_STEPS[name](text, Random(seed), sources)
            except RecursionError:
                continue  # too deep for the step, though not for Python's parser
            text = changed if len(changed) <= _LARGEST else text
    data = text.encode("utf-8", "surrogatepass")
    for name, seed in recipe.steps:
        if name in BYTE_STEPS:
            data = BYTE_STEPS[name](data, Random(seed))
    return data


def random_recipe(random: Random, sources: Sources) -> Recipe:
    """A recipe that mostly keeps its text parseable."""
    steps = [random.choice(sorted(GENTLE)) for _ in range(random.randint(1, 5))]
    if random.random() < 0.2:
        steps.append(random.choice(sorted(ROUGH)))
    if random.random() < 0.1:
        steps.append(random.choice(sorted(BYTE_STEPS)))
    seeded = tuple((name, random.getrandbits(32)) for name in steps)
    return Recipe(random.randrange(len(sources.texts)), random.getrandbits(32), seeded)


# Trees


def parsed(text: str) -> ast.Module | None:
    """The tree of a text, None where Python does not parse it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _written(tree: ast.Module, otherwise: str) -> str:
    try:
        return ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    except (ValueError, RecursionError, TypeError, AttributeError):
        # Some trees cannot be written, such as f-strings that would need a backslash.
        return otherwise


def _bodies(tree: ast.AST) -> list[list[ast.stmt]]:
    found = []
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body:
                found.append(body)
    return found


def _nodes(tree: ast.AST, kind: type[ast.AST]) -> list[ast.AST]:
    return [node for node in ast.walk(tree) if isinstance(node, kind)]


def _expressions(tree: ast.AST) -> list[ast.expr]:
    """The expressions of a tree that may stand anywhere."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.expr)
        and not isinstance(node, ast.Slice | ast.Starred | ast.FormattedValue | ast.JoinedStr)
        and isinstance(getattr(node, "ctx", None), ast.Load | None)
    ]


def _slots(tree: ast.AST) -> list[tuple[list[ast.expr], int] | tuple[ast.AST, str]]:
    """The places of a tree where another expression may stand."""
    found: list[tuple[list[ast.expr], int] | tuple[ast.AST, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr | ast.FormattedValue | ast.pattern):
            continue
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr) and isinstance(getattr(value, "ctx", None), ast.Load | None):
                found.append((node, name))
            elif isinstance(value, list):
                found += [
                    (value, index)
                    for index, item in enumerate(value)
                    if isinstance(item, ast.expr) and isinstance(getattr(item, "ctx", None), ast.Load | None)
                ]
    return found


def _donor(random: Random, sources: Sources) -> ast.Module:
    for _ in range(5):
        tree = parsed(sources.other(random))
        if tree is not None and tree.body:
            return tree
    return ast.parse("pass")


# Steps that mostly leave what parses


def swap_words(text: str, random: Random, sources: Sources) -> str:
    """Some identifiers become words that rules look for."""
    share = random.choice((0.01, 0.05, 0.2))

    def swapped(match: re.Match[str]) -> str:
        word = match[0]
        return random.choice(sources.words) if word not in _KEPT and random.random() < share else word

    return _WORD.sub(swapped, text)


def swap_methods(text: str, random: Random, sources: Sources) -> str:
    """Some methods and attributes become words that rules look for."""
    return re.sub(
        r"\.[^\W\d]\w*", lambda match: f".{random.choice(sources.words)}" if random.random() < 0.15 else match[0], text
    )


def splice_statements(text: str, random: Random, sources: Sources) -> str:
    """Statements and blocks come from another text, go, are doubled, change places."""
    tree = parsed(text)
    if tree is None:
        return splice_lines(text, random, sources)
    donor = _bodies(_donor(random, sources))
    for _ in range(random.randint(1, 6)):
        body = random.choice(_bodies(tree) or [tree.body])
        position = random.randrange(len(body) + 1)
        match random.randrange(5):
            case 0 | 1:
                given = random.choice(donor)
                start = random.randrange(len(given))
                body[position:position] = copy.deepcopy(given[start : start + random.randint(1, 3)])
            case 2 if len(body) > 1:
                del body[random.randrange(len(body))]
            case 3:
                body.insert(position, copy.deepcopy(random.choice(body or [ast.Pass()])))
            case _:
                random.shuffle(body)
    return _written(tree, text)


def splice_expressions(text: str, random: Random, sources: Sources) -> str:
    """Expressions are replaced by others of this text or of another."""
    tree = parsed(text)
    if tree is None:
        return text
    donors = _expressions(random.choice((tree, _donor(random, sources))))
    slots = _slots(tree)
    for _ in range(random.randint(1, 10)):
        if not donors or not slots:
            break
        # A copy: what is put into a part of itself would never end.
        _put(random.choice(slots), copy.deepcopy(random.choice(donors)))
    return _written(tree, text)


def _put(slot: tuple[list[ast.expr], int] | tuple[ast.AST, str], expression: ast.expr) -> None:
    match slot:
        case list() as items, int() as index:
            items[index] = expression
        case ast.AST() as node, str() as name:
            setattr(node, name, expression)


def reshape_calls(text: str, random: Random, sources: Sources) -> str:
    """Calls lose arguments, get more, get stars, or pass them by other names."""
    tree = parsed(text)
    if tree is None:
        return text
    spare = copy.deepcopy(_expressions(tree)[:100]) or [ast.Name("x", ast.Load())]
    for node in _nodes(tree, ast.Call):
        if not isinstance(node, ast.Call) or random.random() < 0.7:
            continue
        match random.randrange(7):
            case 0:
                node.args.clear()
                node.keywords.clear()
            case 1:
                del node.args[random.randrange(len(node.args) + 1) :]
            case 2:
                node.args.insert(0, ast.Starred(random.choice(spare), ast.Load()))
            case 3:
                node.keywords.append(ast.keyword(None, random.choice(spare)))
            case 4:
                node.args += random.choices(spare, k=random.randint(1, 4))
            case 5 if node.args:
                node.keywords.append(ast.keyword(random.choice(sources.words), node.args.pop()))
            case _:
                random.shuffle(node.args)
    return _written(tree, text)


def insert_forms(text: str, random: Random, sources: Sources) -> str:
    """Statements of rare forms are put somewhere, made of words that rules look for and of expressions of the text."""
    tree = parsed(text)
    if tree is None:
        return text
    spare = _expressions(tree) or [ast.Name("x", ast.Load())]
    for _ in range(random.randint(1, 4)):
        body = random.choice(_bodies(tree) or [tree.body])
        form = random.choice(_FORMS)
        names = {key: random.choice(sources.words) for key in "abcde"}
        written = parsed(form.format(x=_shown(random.choice(spare)), y=_shown(random.choice(spare)), **names))
        if written is None:
            continue
        holes = [block for block in _bodies(written) if len(block) == 1 and isinstance(block[0], ast.Pass)]
        position = random.randrange(len(body) + 1)
        if holes and random.random() < 0.7:
            # The form goes around some statements that are there.
            around = body[position : position + 3]
            random.choice(holes)[:] = around or [ast.Pass()]
            body[position : position + 3] = written.body
        else:
            body[position:position] = written.body
    return _written(tree, text)


def _shown(expression: ast.expr) -> str:
    try:
        return ast.unparse(expression)
    except (ValueError, RecursionError):
        return "x"


def wrap_functions(text: str, random: Random, sources: Sources) -> str:
    """Functions become methods, methods asynchronous, classes nested, bases and decorators strange."""
    tree = parsed(text)
    if tree is None:
        return text
    spare = copy.deepcopy(_expressions(tree)[:100]) or [ast.Name("x", ast.Load())]
    for body in _bodies(tree):
        for index, node in enumerate(body):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or random.random() < 0.6:
                continue
            match random.randrange(5):
                case 0 if isinstance(node, ast.FunctionDef):
                    body[index] = ast.AsyncFunctionDef(**dict(ast.iter_fields(node)))
                case 1:
                    node.decorator_list.append(random.choice(spare))
                case 2 if isinstance(node, ast.ClassDef):
                    node.bases.append(random.choice(spare))
                case 3:
                    node.name = random.choice(sources.words)
                case _:
                    name = random.choice(sources.words)
                    base = ast.Name(random.choice(sources.words), ast.Load())
                    body[index] = ast.ClassDef(name, [base], [], [node], [])
    return _written(tree, text)


def change_literals(text: str, random: Random, sources: Sources) -> str:
    """Literals become odd ones: huge numbers, surrogates, other types."""
    return re.sub(
        r"\b(?:\d+(?:\.\d+)?|None|True|False)\b(?![\"'])|(?<![\"'\w])(?:\"\w+\"|'\w+')(?![\"'])",
        lambda match: random.choice(_LITERALS) if random.random() < 0.2 else match[0],
        text,
    )


def add_comments(text: str, random: Random, sources: Sources) -> str:
    """Lines get comments that bufaudit reads, good and bad."""
    lines = text.split("\n")
    for _ in range(random.randint(1, 6)):
        index = random.randrange(len(lines))
        comment = random.choice(_COMMENTS).format(
            random.choice(("BUF101", "BUF302", "BUF999", "params-only-load", "X"))
        )
        lines[index] = f"{comment}\n{lines[index]}" if random.random() < 0.3 else f"{lines[index]}  {comment}"
    return "\n".join(lines)


def add_imports(text: str, random: Random, sources: Sources) -> str:
    """The text imports names of other inputs of its batch."""
    names = [random.choice(sources.words), *re.findall(r"^class (\w+)", text, re.MULTILINE)]
    lines = []
    for _ in range(random.randint(1, 4)):
        module, name = f"modular_m{random.randrange(10)}", random.choice(names)
        lines.append(
            random.choice(
                (
                    f"from .{module} import *",
                    f"from .{module} import {name}",
                    f"from . import {module} as {name}",
                    f"from ..{module} import {name}",
                    f"import {module}.{name}",
                    f"{name} = {random.choice(names)}.{random.choice(sources.words)}",
                    f"from torch.nn import Buffer as {name}",
                    f"from torch.nn.modules import *\nclass {name}({random.choice(names)}): pass",
                    f"# automatically generated from x/{module}.py",
                )
            )
        )
    return "\n".join((*lines, text))


def rename_beyond_ascii(text: str, random: Random, sources: Sources) -> str:
    """Some identifiers are spelled with letters outside of ASCII, which normalise to others or need more bytes."""
    share = random.choice((0.01, 0.1))
    return _WORD.sub(
        lambda match: (
            random.choice(_LETTERS) + match[0] if match[0] not in _KEPT and random.random() < share else match[0]
        ),
        text,
    )


# Steps that mostly break it


def edit_tokens(text: str, random: Random, sources: Sources) -> str:
    """Tokens go, are doubled, change places, or become others."""
    tokens = _TOKEN.findall(text)
    for _ in range(random.randint(1, 8)):
        if len(tokens) < 2:
            break
        one, other = random.randrange(len(tokens)), random.randrange(len(tokens))
        match random.randrange(4):
            case 0:
                del tokens[one]
            case 1:
                tokens.insert(one, tokens[other])
            case 2:
                tokens[one], tokens[other] = tokens[other], tokens[one]
            case _:
                tokens[one] = random.choice(_STRAY)
    return "".join(tokens)


def splice_lines(text: str, random: Random, sources: Sources) -> str:
    """Some lines are replaced by lines of another text."""
    lines, others = text.split("\n"), sources.other(random).split("\n")
    start, other = random.randrange(len(lines)), random.randrange(len(others))
    lines[start : start + random.randint(0, 20)] = others[other : other + random.randint(1, 40)]
    return "\n".join(lines)


def damage_indentation(text: str, random: Random, sources: Sources) -> str:
    """Some lines are indented otherwise."""
    lines = text.split("\n")
    for _ in range(random.randint(1, 5)):
        index = random.randrange(len(lines))
        lines[index] = random.choice(("\t", " ", "        ", "")) + lines[index].lstrip(" " * random.randint(0, 1))
    return "\n".join(lines)


def truncate(text: str, random: Random, sources: Sources) -> str:
    """The text ends somewhere."""
    return text[: random.randrange(len(text) + 1)]


def unbalance(text: str, random: Random, sources: Sources) -> str:
    """Quotes, brackets and backslashes are put anywhere."""
    for _ in range(random.randint(1, 3)):
        position = random.randrange(len(text) + 1)
        text = text[:position] + random.choice(_STRAY) + text[position:]
    return text


def nest(text: str, random: Random, sources: Sources) -> str:
    """Something is nested deeply."""
    depth = random.choice((20, 90, 200, 1000))
    left, right = random.choice(
        (("(", ")"), ("[", "]"), ("f(", ")"), ("-", ""), ("not ", ""), ("x.a(", ")"), ("{1:", "}"))
    )
    inner = random.choice(("x", "model.parameters()", "state_dict", "self.register_buffer('a', x)"))
    line = random.choice(
        (
            left * depth + inner + right * depth,
            f"self.register_buffer('a', {left * depth}{inner}{right * depth})",
            f"model.load_state_dict({' + '.join([inner] * depth)})",
            f"model.load_state_dict(x{'.parameters()' * depth})",
            "if x: pass\n" + "elif x: model.load_state_dict(x)\n" * depth,
            "".join("    " * level + f"for p in {inner}:\n" for level in range(min(depth, 95))) + "    " * 95 + "pass",
        )
    )
    return f"{text}\n{line}\ndef f(self, model, state_dict):\n" + "\n".join(f"    {part}" for part in line.split("\n"))


def lengthen(text: str, random: Random, sources: Sources) -> str:
    """A line gets very long, or there are very many."""
    count = random.choice((500, 5000))
    part = random.choice(
        ("x = 1; ", "model.load_state_dict(x); ", "self.é = p.data; ", "A", "_", "a.b", '"', "# ", "\f", " ")
    )
    return random.choice(
        (f"{part * count}\n{text}", f"{text}\n{part * count}", f"{text}\n" + f"{part.strip()}\n" * count)
    )


# Steps on bytes


def change_newlines(data: bytes, random: Random) -> bytes:
    """All lines, or some, end otherwise."""
    ends = (b"\r\n", b"\r", b"\n\r", b"\x0c\n", b"\\\n", b"\n\n")
    end, share = random.choice(ends), random.choice((1.0, 0.1))
    return re.sub(rb"\n", lambda match: end if random.random() < share else match[0], data)


def add_mark(data: bytes, random: Random) -> bytes:
    """A byte order mark at the start, or where it does not belong."""
    mark = random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
    position = random.choice((0, 0, random.randrange(len(data) + 1)))
    return data[:position] + mark + data[position:]


def declare_encoding(data: bytes, random: Random) -> bytes:
    """A declared encoding, known or not, that the text is in or not."""
    name = random.choice(_ENCODINGS)
    head = f"# -*- coding: {name} -*-\n"
    try:
        if random.random() < 0.5:
            return (head + data.decode("utf-8", "replace")).encode(name, "replace")
    except (LookupError, ValueError, OverflowError):
        pass
    return head.encode() + data


def damage_bytes(data: bytes, random: Random) -> bytes:
    """Some bytes are any others, NUL and those that are no UTF-8 among them."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        position = random.randrange(len(changed) + 1)
        stray = random.choice(
            (b"\0", b"\xff", b"\xed\xa0\x80", b"\xc2", b"\x1a", b"\x0c", b"\x85", bytes([random.randrange(256)]))
        )
        changed[position : position + random.randint(0, 1)] = stray
    return bytes(changed)


#: Words that stay: keywords, and what may be a string's prefix.
_KEPT = frozenset({*keyword.kwlist, "f", "r", "b", "u", "F", "R", "B", "rb", "br", "fr", "rf"})
_LETTERS = (
    "é",
    "ﬁ",
    "\N{MATHEMATICAL DOUBLE-STRUCK CAPITAL A}",
    "名",
    "ª",
    "\N{KELVIN SIGN}",
    "\N{LATIN SMALL LETTER DOTLESS I}",
)
_STRAY = ('"', "'", '"' * 3, "'" * 3, "(", ")", "[", "]", "{", "}", "\\", "\\\n", ":", ",", ";", "=", ":=", "*", "**",
          ".", "...", "@", "->", "\n", "\f", "\t", "lambda", "yield", "await", "async", "match", "case", "del", "in",
          "not", "if", "else", "for", "f'{", "f'''{\n", "0x", "1_", "1j", "#", "$", "?", "!", "`", "<>",
          "\N{NO-BREAK SPACE}", "\u2028", "\ufeff", "é")  # fmt: skip
_LITERALS = ("None", "True", "...", "0", "-1", "1e999", "9" * 4000, "9" * 5000, "0x" + "f" * 4000, "0x" + "f" * 9000,
             "1j", "b''", "''", "'\\ud800'", "'\\x00'", "'{}'", "'%s'", "'a.b'", "'{0[x]!r:>{1}}'", "'\\n'", "'é'",
             "f'{x}'", "f'{x!r:{y}}.inv'", "f'''{x + '''\n'''}'''", "f'{{}}'", "'a' 'b'", "()", "[]", "{}", "(0,)",
             "f'''{\"\"\"\n\"\"\"}'''", "lambda: 0", "x", "*x", "'\\N{BULLET}'", "'''a\nb'''", "'\U0001f600'",
             "'\\x1b[31m'")  # fmt: skip
_COMMENTS = (
    "# bufaudit: ignore[{}] because",
    "# bufaudit: ignore",
    "# bufaudit: ignore-file[{}]",
    "# noqa: {}",
    "# noqa",
    "# bufaudit: ignore[",
    "# bufaudit: ignore[{0},{0}] # noqa: {0}",
    "# bufaudit:ignore[]",
    "# bufaudit: nothing",
    "#bufaudit:ignore[{}]: é",
    "# noqa:BUF101,{}",
    "# type: ignore # bufaudit: ignore",
)
_ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16", "utf-7", "ascii", "shift_jis", "gb18030", "idna", "punycode",
              "rot13", "hex", "zlib", "unicode_escape", "raw_unicode_escape", "undefined", "none", "utf-8-sig", "cp037",
              "mbcs", "utf_32", "x" * 300, "utf-8\x0c", "../x")  # fmt: skip
#: Forms of statements; `a` to `e` are words, `x` and `y` expressions.
_FORMS_TEXT = """\
if ({a} := {x}): pass

while ({a} := {x}) is not None: pass

match {x}:
    case {{'{a}': {b}, **{c}}} if {y}: pass
    case [{d}, *{e}]: pass
    case {b}.{c}({a}={d}): pass

match {x}:
    case '{a}' | None: pass
    case _: self.register_buffer('{b}', {y})

async for {a}, ({b}, *{c}) in {x}: pass
else: pass

async with {x} as {a}, {y} as ({b}, {c}): pass

with {x} as self.{a}, {y} as {b}['{c}']: pass

async def {a}(*{b}, {c}=({x}), **{d}):
    await {c}.{e}()
    yield {c}

try: pass
except* {a}.{b} as {c}: pass
else: pass
finally: pass

try: pass
except: pass

{a}, *{b} = {c}, {d} = {x}

({a}, ({b}, *{c})), self.{d} = {x}, {y}

self.{a}: {b} = {x}

self.{a}: '{b}'

{a}[{x}:{y}, ...] += {b}

{a}.{b} @= {x}

{a} = {b} = self.{c} = {d}[{x}] = {y}

del self.{a}, {b}[{c}], {d}

global {a}
nonlocal {b}

for {a}.{b} in {x}: pass
else: pass

for {a}, {b} in zip({x}, *{y}, strict=True): pass

for {a}, {b} in enumerate({x}, {y}): pass

for {a} in (): pass

for () in {x}: pass

for () in self.buffers(): {a} = torch.empty_like({b})

[] = () = {x}

for {a}, {b} in {x}._buffers.items(): self.{c} = torch.empty_like({b}, device={y})

self.{a} = torch.zeros({x}).to({y})

{a} = self.{b}.to({x}.dtype) @ {y}

{a} = [{b} async for {b} in {x} if {y}]

{a} = {{{b}: {c} for {b}, {c} in {x} if {b} in {y} for _ in {c}}}

{a} = {{**{x}, '{b}': {y}, {c}: {d}}}

{a} = ({x} if {y} else {b}) or {c}

{a} = ({x}, {x}); {a} = ({a}, {a}); {a} = [{a}, {a}]

{a} = lambda *{b}, {c}={x}, **{d}: {y}

setattr(self, f'{{{a}}}_{b}', nn.Buffer({x}, persistent={y}))

setattr({x}, *{y})

getattr({x}, '{a}')({y})

super().register_buffer(*{x}, **{y})

nn.Module.register_buffer(self, '{a}', {x}, persistent={y})

register_buffer()

self.register_buffer(name='{a}', tensor={x}, persistent={y})

self.register_buffer('{a}.{b}', None)

self._buffers['{a}'] = {x}

self._buffers.update({x})

{a}.{b} = {c} = nn.Buffer()

{a} = nn.Buffer(*{x}, **{y})

[self.register_buffer({a}, {x}) for {a} in ('{b}', '{c}')]

{x}.load_state_dict(*{y}, strict=False)

load_state_dict()

missing, unexpected = {x}.load_state_dict({y}, False)

{a}.to_empty(device={x}); {a}.load_state_dict({y}, assign=True)

{a}.half().{b}().to({x}, dtype=torch.bfloat16)

{a}.sleep(level={x}); {a}.wake_up({y})

{a} = torch.empty_like({x}, device='meta')

@{a}({x})
@{b}.{c}[{y}]
@lambda f: f
class {d}(*{x}, metaclass={e}, **{y}): pass

@{a}
async def _init_weights(self, module, /, *, {b}={x}): pass

class {a}({b}, {c}.{d}[{x}]):
    def __init__(self, *args): self.{e} = {y}
    def forward(self): pass

class {a}:
    class {b}({a}):
        def _init_weights(self, m):
            if isinstance(m, ({c}, {d})): {x}.zero_()

def _init_weights(*args): pass

def reset_parameters(): {x}.copy_({y})

if isinstance({x}): pass
elif isinstance({y}, {a} | {b} | ()): pass

if type({a}).__name__ == '{b}' == {x}: pass

if not (rank == 0 and {x}) or {y}: pass
else: pass

if torch.distributed.get_rank() in [0, *{x}]: pass

if __name__ == '__main__': pass

return {x}

yield {x}, (yield from {y})

await {x}

raise {x} from {y}

assert {x}, {y}

import {a}.{b} as {c}, {d}

from ...{a}.{b} import {c} as {d}, {e}

from . import *

print(f'{{{a}!r:>{{{b}}}}} {{{c}=}}')

{a} = '%s.%(x)s' % {x} + '.{b}' + {y}

{a} = '{{}}.{b}'.format({x})

{a}: {b}

pass; pass
"""
_FORMS = tuple(_FORMS_TEXT.strip().split("\n\n"))

GENTLE: dict[str, Callable[[str, Random, Sources], str]] = {
    step.__name__: step
    for step in (
        swap_words,
        swap_methods,
        splice_statements,
        splice_expressions,
        reshape_calls,
        insert_forms,
        wrap_functions,
        change_literals,
        add_comments,
        add_imports,
        rename_beyond_ascii,
    )
}
ROUGH: dict[str, Callable[[str, Random, Sources], str]] = {
    step.__name__: step for step in (edit_tokens, splice_lines, damage_indentation, truncate, unbalance, nest, lengthen)
}
TEXT_STEPS = GENTLE | ROUGH
BYTE_STEPS: dict[str, Callable[[bytes, Random], bytes]] = {
    step.__name__: step for step in (change_newlines, add_mark, declare_encoding, damage_bytes)
}
