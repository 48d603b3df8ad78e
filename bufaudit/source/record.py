"""What is noted while a function is read."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from bufaudit.source.facts import Call, Cast, Effect, Walk
from bufaudit.source.syntax import source_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bufaudit.source.facts import EffectKind, Guard, Origin, StateKind
    from bufaudit.source.syntax import Places
    from bufaudit.source.values import Value


#: Walks, effects and calls of one function; no person writes more, and checks compare each with each.
_MOST = 500


class FullError(Exception):
    """A function has more in it than is worth knowing."""


class Record:
    """The walks, effects, calls and casts of one function, each with its place and with the conditions around it.

    `statement` is the one that is being read, `conditions` what the conditions around it ask: an item for each, with
    what those around it ask too, outermost first. Noting too much raises `FullError`.
    """

    def __init__(self, places: Places) -> None:
        self.walks: list[Walk] = []
        self.effects: list[Effect] = []
        self.calls: list[Call] = []
        self.casts: list[Cast] = []
        self.conditions: list[frozenset[Guard]] = []
        self.statement: ast.stmt = ast.Pass()
        self._places = places

    @property
    def guards(self) -> frozenset[Guard]:
        """What all conditions around the present statement ask."""
        return self.conditions[-1] if self.conditions else frozenset()

    def under(self, asked: frozenset[Guard]) -> None:
        """Begin what stands under one more condition."""
        self.conditions.append(self.guards | asked)

    def kinds(self, value: Value) -> set[StateKind]:
        """The kinds of state that a value holds."""
        return {self.walks[index].kind for index in value.walks}

    def walk(self, kind: StateKind, receiver: str, receiver_type: str | None, node: ast.expr) -> int:
        """Note a walk, and give its position."""
        self._make_room(self.walks)
        self.walks.append(Walk(kind, receiver, receiver_type, self._places.of(node, self.statement)))
        return len(self.walks) - 1

    def effect(self, kind: EffectKind, node: ast.expr | ast.stmt, on: Value, value: Value, target: str) -> None:
        """Note what happens to the tensors of `on`, if they are of any walk; `value` is what they get or become."""
        if not on.walks:
            return
        self._make_room(self.effects)
        origins: frozenset[Origin] = value.origins
        if kind == "write" and not value.walks and "arithmetic" not in origins:
            origins |= {"other"}
        self.effects.append(
            Effect(
                kind=kind,
                place=self._places.of(node, self.statement),
                walks=tuple(sorted(on.walks)),
                sources=tuple(sorted(value.walks)),
                target=target,
                origins=origins,
                guards=self.guards | on.filters | value.filters,
            )
        )

    def call(
        self,
        node: ast.Call,
        callee: str,
        arguments: list[Value],
        *,
        origin: str,
        used: bool,
        made_under: frozenset[Guard],
    ) -> None:
        """Note a call; see `facts.Call`."""
        self._make_room(self.calls)
        self.calls.append(
            Call(
                callee=callee,
                arguments=tuple(source_text(argument) for argument in node.args),
                keywords=tuple((keyword.arg or "**", source_text(keyword.value)) for keyword in node.keywords),
                walks=tuple(tuple(sorted(argument.walks)) for argument in arguments),
                origin=origin,
                used=used,
                receiver_guards=made_under,
                place=self._places.of(node, self.statement),
                guards=self.guards,
            )
        )

    def cast(
        self,
        node: ast.Call,
        receiver: ast.expr,
        receiver_type: str | None,
        dtype: str,
        *,
        one_of_many: bool,
        handed_on: bool,
    ) -> None:
        """Note a cast of a module; see `facts.Cast`."""
        self._make_room(self.casts)
        place = self._places.of(node, self.statement)
        meant = "buffer" in self._places.comment_at(self.statement)
        self.casts.append(Cast(source_text(receiver), receiver_type, dtype, one_of_many, handed_on, meant, place))

    def _make_room(self, noted: Sequence[object]) -> None:
        if len(noted) >= _MOST:
            raise FullError
