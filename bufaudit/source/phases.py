"""When the methods of a class run, as far as their names and the calls among them tell."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from bufaudit.patterns import lazy_pattern
from bufaudit.source.syntax import walk

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from bufaudit.source.facts import Phase
    from bufaudit.source.syntax import Definition

    Calls = Mapping[str, set[str]]

#: The names of methods that run in a phase by themselves; what they call runs in it too. The first that fits counts.
_STARTS: tuple[tuple[Phase, re.Pattern[str]], ...] = (
    ("construction", lazy_pattern(r"__init__|__post_init__|setup|configure_model|build|_build")),
    ("load", lazy_pattern(r"(.*_)?(load|loads|loading|loaded|restore|resume|setstate|from)(_.*)?")),
    ("forward", lazy_pattern(r"_?forward(_.*)?|__call__|encode|decode|predict|transform|sample|generate")),
    ("training", lazy_pattern(r"_?(partial_)?fit(_.*)?|(on_train|on_fit|calibrate|observe)(_.+)?|training_step")),
)

#: How those methods are called that fit a module to data by themselves, rather than in somebody's loop.
_FIT = lazy_pattern(r"_?(partial_)?fit(_.*)?")


def phases(calls: Calls) -> dict[str, Phase]:
    """When each method of a class runs, by its name."""
    found: dict[str, Phase] = {}
    for phase, pattern in _STARTS:
        for name in reached_from({name for name in calls if pattern.fullmatch(name)}, calls):
            found.setdefault(name, phase)
    return {name: found.get(name, "later") for name in calls}


def each_time(methods: Sequence[Definition]) -> frozenset[ast.stmt]:
    """The statements that run in each use of an object in `forward`, whatever there was before."""
    by_name = {method.name: method for method in methods}
    pattern = dict(_STARTS)["forward"]
    pending = [name for name in by_name if pattern.fullmatch(name)]
    reached = set(pending)
    found: set[ast.stmt] = set()
    while pending:
        for statement in _always(by_name[pending.pop()].body):
            found.add(statement)
            for name in _called_on_self(statement):
                if name in by_name and name not in reached:
                    reached.add(name)
                    pending.append(name)
    return frozenset(found)


def fits_of_more(methods: Sequence[Definition], calls: Calls, buffers: Collection[str]) -> frozenset[str]:
    """The methods that run in a fit, where that also sets attributes which are no buffers, and so in no state dict."""
    fits = reached_from((name for name in calls if _FIT.fullmatch(name)), calls)
    of_fits = (method for method in methods if method.name in fits)
    return fits if any(_sets_others(method, buffers) for method in of_fits) else frozenset()


def _sets_others(method: Definition, buffers: Collection[str]) -> bool:
    """Whether a method gives an attribute of self, other than some buffers, a value, or leaves that to a base class."""
    for node in walk(method):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name)):
                if _FIT.fullmatch(name):
                    return True
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name), *_], value=value):
                if name not in buffers and not isinstance(value, ast.Constant):
                    return True
    return False


def _always(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The simple statements of a block that no condition stands before."""
    for statement in body:
        match statement:
            case ast.With():
                yield from _always(statement.body)
            case ast.Expr() | ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.Return():
                yield statement
            case ast.If() if any(isinstance(node, ast.Return) for node in walk(statement)):
                return


def calls_on_self(methods: Sequence[Definition]) -> Calls:
    """By the name of each method of a class: the names that it calls on self."""
    return {method.name: _called_on_self(method) for method in methods}


def _called_on_self(node: ast.AST) -> set[str]:
    return {
        each.func.attr
        for each in walk(node)
        if isinstance(each, ast.Call)
        and isinstance(each.func, ast.Attribute)
        and isinstance(each.func.value, ast.Name)
        and each.func.value.id == "self"
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
