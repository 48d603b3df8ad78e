"""When the methods of a class run, as far as their names and the calls among them tell."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source.syntax import walk

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping, Sequence

    from bufaudit.source.facts import Phase
    from bufaudit.source.syntax import Definition

    Calls = Mapping[str, set[str]]

#: The methods that run by themselves while an object is built.
CONSTRUCTORS = frozenset({"__init__", "__post_init__", "setup"})
#: The names of methods that run in a phase by themselves; what they call runs in it too. The first that fits counts.
_STARTS: tuple[tuple[Phase, re.Pattern[str]], ...] = (
    ("construction", lazy_pattern(r"__init__|__post_init__|setup|configure_model|build|_build")),
    ("load", lazy_pattern(r"(.*_)?(load|loads|loading|loaded|restore|resume|setstate|from)(_.*)?")),
    ("forward", lazy_pattern(r"_?forward(_.*)?|__call__|encode|decode|predict|transform|sample|generate")),
    ("training", lazy_pattern(r"_?(partial_)?fit(_.*)?|(on_train|on_fit|calibrate|observe)(_.+)?|training_step")),
)


def phases(calls: Calls) -> dict[str, Phase]:
    """When each method of a class runs, by its name."""
    found: dict[str, Phase] = {}
    for phase, pattern in _STARTS:
        for name in reached_from({name for name in calls if pattern.fullmatch(name)}, calls):
            found.setdefault(name, phase)
    return {name: found.get(name, "later") for name in calls}


def calls_on_self(methods: Sequence[Definition]) -> Calls:
    """By the name of each method of a class: the names that it calls on self."""
    return {
        method.name: {
            node.func.attr
            for node in walk(method)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "self"
        }
        for method in methods
    }


def reached_from(starts: Iterable[str], calls: Calls) -> frozenset[str]:
    """The names of `starts` and of the methods that those call, at any depth."""
    reached = set(starts)
    pending = list(reached)
    while pending:
        for name in calls.get(pending.pop(), ()):
            if name in calls and name not in reached:
                reached.add(name)
                pending.append(name)
    return frozenset(reached)
