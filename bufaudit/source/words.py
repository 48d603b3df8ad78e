"""The identifiers of a function that tell which state it knows of."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING

from bufaudit.source import vocabulary
from bufaudit.source.syntax import dotted, identifiers, last_name, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_WORD = 60


def telling_words(body: Iterable[ast.stmt]) -> frozenset[str]:
    """The words of some statements that speak of ranks, adapters, statistics, or of doing something about buffers."""
    found = set()
    for statement in body:
        for word in identifiers(statement):
            if len(word) <= _LONGEST_WORD and _is_telling(word):
                found.add(word)
        for node in walk(statement):
            if isinstance(node, ast.Call) and vocabulary.handles_buffers(called := last_name(dotted(node.func))):
                found.add(called)
    return frozenset(found)


@lru_cache(maxsize=4096)
def _is_telling(word: str) -> bool:
    return bool(
        word in vocabulary.RANK_SYNC
        or vocabulary.ADAPTER.search(word)
        or vocabulary.speaks_of_statistics(word)
        or vocabulary.speaks_of_precision(word)
        or word in vocabulary.NOT_LIVE
    )
