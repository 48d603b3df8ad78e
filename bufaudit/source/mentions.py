"""Which names the definitions of a file make things of, read off the words of its code when somebody asks.

As with `parts`, few questions need it, so it is no fact, and nothing of it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source.blocks import blocks, code_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFINITION = lazy_pattern(r"(?:async[ \t]+)?(?P<kind>def|class)[ \t]+(?P<name>\w+)[ \t]*(?P<bases>\([^():]*\))?")
_TABLE = lazy_pattern(r"(?P<name>[A-Za-z_]\w*)[ \t]*(?::[^=\n]*)?=[ \t]*[^=\s]")
#: Called, looked up in, or, capitalised, given by a keyword or to a variable.
_USED = lazy_pattern(
    r"(?P<called>\b[A-Za-z_]\w*+)\s*+(?:\(|\[|\.get\(|\.(?:_?from_config|from_pretrained|build|create)\()"
    r"|=\s*(?:\w+\.)*(?P<given>[A-Z]\w*)(?=\s*[,)\n])"
)
_WORD = lazy_pattern(r"[A-Za-z_]\w*")
#: A class that brings its own way to load weights; one that only adds to that of its base class goes through it.
_LOADER = lazy_pattern(r"\bdef (?:load_weights|_?from_pretrained)\(")
_BASE_LOADER = lazy_pattern(r"\bsuper\([^()]*\)\.(?:load_weights|_?from_pretrained)\(")
_FORWARD = lazy_pattern(r"\n    def forward\(")
#: A setting that names a class, in the body of a class: nothing is made of it there.
_SETTING = lazy_pattern(r"(?<=\n)    (?P<name>\w+)[ \t]*(?::[^=\n]*)?=(?P<value>[^\n]*)")
#: A class that transformers is asked to load, or is told of.
_LOADED = lazy_pattern(
    r"\b(?P<class>\w+)\.(?:from_pretrained|register_for_auto_class)\(|\.register\(\s*\w+\s*,\s*(?:\w+\s*=\s*)?(?P<told>\w+)"
)
_FILLS = lazy_pattern(r"\bload_(?:state_dict|weights|model)\(")
_SAVES = lazy_pattern(r"\.(?:save_pretrained|push_to_hub)\(")
#: What transformers' models no longer have since release 5.
_GONE_METHOD = lazy_pattern(
    r"\bself\.(?P<name>get_head_mask|get_extended_attention_mask|invert_attention_mask)\(|"
    r"\.(?:from_legacy_cache|to_legacy_cache|get_usable_length|seen_tokens)\b"
)
#: The functions of that name know the default rotary embedding no more, each model has a method of its own for it.
_ROTARY_FUNCTIONS = "ROPE_INIT_FUNCTIONS"
_ROTARY_METHOD = lazy_pattern(r"\bcompute_\w*rope_parameters\b")


@dataclass(frozen=True, slots=True)
class Mention:
    """A top-level definition, or an assignment, and the names that it makes something of.

    A class that `loads_itself` does not leave its weights to a base class. Its `settings` are pairs of an attribute of
    the class and a capitalised name that it stands for. One that `is_shell` has a `forward` and no base class: what it
    builds is in no module's state dict.
    """

    name: str
    used: frozenset[str]
    loads_itself: bool = False
    settings: frozenset[tuple[str, str]] = frozenset()
    is_shell: bool = False


@dataclass(frozen=True, slots=True)
class Mentions:
    """The definitions of a file, and whether its code needs a transformers before release 5.

    The classes in `loaded` are left to transformers' loader. A file that `fills` models loads weights into them; one
    that `saves` them makes checkpoints for that loader.
    """

    definitions: tuple[Mention, ...] = ()
    needs_old_transformers: bool = False
    loaded: frozenset[str] = frozenset()
    fills: bool = False
    saves: bool = False


def mentions_of(text: str) -> Mentions:
    """What a file makes things of."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    code = code_of(text)
    found = []
    position = 0
    for block in blocks(text):
        found += _tables(code, position, block.start)
        position = block.end
        header = _DEFINITION.match(code, block.start)
        if header is None:
            continue
        is_class = header["kind"] == "class"
        body = code[header.end() : block.end]
        settings = frozenset(_settings(body) if is_class else ())
        body = _SETTING.sub("", body) if is_class else body
        used = {match["called"] or match["given"] for match in _USED.finditer(body)}
        used |= set(_WORD.findall(header["bases"] or "")) if is_class else set()
        loads_itself = is_class and _LOADER.search(body) is not None and _BASE_LOADER.search(body) is None
        is_shell = is_class and not header["bases"] and _FORWARD.search(body) is not None
        found.append(Mention(header["name"], frozenset(used), loads_itself, settings, is_shell))
    found += _tables(code, position, len(code))
    loaded = frozenset(match["class"] or match["told"] for match in _LOADED.finditer(code))
    fills, saves = _FILLS.search(code) is not None, _SAVES.search(code) is not None
    return Mentions(tuple(found), _needs_old_transformers(code), loaded, fills, saves)


def _settings(body: str) -> Iterator[tuple[str, str]]:
    for setting in _SETTING.finditer(body):
        for word in _WORD.findall(setting["value"]):
            if word[0].isupper():
                yield setting["name"], word


def _needs_old_transformers(code: str) -> bool:
    gone = (match["name"] for match in _GONE_METHOD.finditer(code))
    if any(name is None or f"def {name}(" not in code for name in gone):
        return True
    return _ROTARY_FUNCTIONS in code and _ROTARY_METHOD.search(code) is None


def _tables(code: str, start: int, end: int) -> list[Mention]:
    """The assignments between two definitions, with every name up to the next one."""
    starts = [
        match for match in _TABLE.finditer(code, start, end) if match.start() == 0 or code[match.start() - 1] == "\n"
    ]
    ends = [*(match.start() for match in starts), end][1:]
    return [
        Mention(match["name"], frozenset(_WORD.findall(code, match.end() - 1, stop)))
        for match, stop in zip(starts, ends, strict=False)
    ]
