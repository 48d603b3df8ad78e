"""What the conditions around a statement ask about."""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import TYPE_CHECKING

from bufaudit.source import vocabulary
from bufaudit.source.syntax import branches_of_test, dotted, identifiers, last_name

if TYPE_CHECKING:
    from bufaudit.source.facts import Guard


def guards_of(test: ast.AST) -> frozenset[Guard]:
    """What a condition asks, whichever way it is answered; whether it asks for one rank is `one_rank`'s question."""
    found: set[Guard] = set()
    for word in identifiers(test):
        found |= _asked_by(word)
    for branch in branches_of_test(test):
        match branch:
            case ast.Compare(ops=[ast.In() | ast.NotIn()], left=ast.Constant()):
                found.add("name")
            case ast.Compare(ops=[ast.In() | ast.NotIn()]):
                found.add("membership")
            case ast.Compare(comparators=[ast.Constant(value=str())]):
                found.add("name")
            case ast.Call(func=ast.Attribute(attr="startswith" | "endswith" | "match" | "search" | "fullmatch")):
                found.add("name")
    return frozenset(found)


@lru_cache(maxsize=4096)
def _asked_by(word: str) -> frozenset[Guard]:
    """What a condition asks in which a word occurs."""
    answers: dict[Guard, bool] = {
        "requires_grad": word in vocabulary.TRAINABLE or word in vocabulary.GRADIENTS,
        "adapter": vocabulary.ADAPTER.search(word) is not None,
        "initialized": "is_hf_initialized" in word or word in ("_initialized", "_materialized", "is_meta"),
        "buffer": vocabulary.speaks_of_buffers(word),
        "sharded": vocabulary.SHARDED.search(word) is not None or word in vocabulary.SHARDED_ATTRIBUTES,
        "parameter": vocabulary.PARAMETER_WORD.search(word) is not None,
    }
    return frozenset(guard for guard, asked in answers.items() if asked)


def one_rank(test: ast.AST) -> bool | None:
    """Whether a condition holds on one rank only (True), on all others (False), or asks nothing of ranks (None)."""
    match test:
        case ast.UnaryOp(op=ast.Not()):
            answer = one_rank(test.operand)
            return _is_rank(test.operand) or None if answer is None else not answer
        case ast.BoolOp():
            answers = [answer for answer in map(one_rank, test.values) if answer is not None]
            return answers[0] if answers else None
        case ast.Compare(left=left, ops=[operator], comparators=[ast.Constant(value=0 | -1)]) if _is_rank(left):
            match operator:
                case ast.Eq() | ast.Is() | ast.LtE():
                    return True
                case ast.NotEq() | ast.Gt() | ast.IsNot():
                    return False
        case ast.Compare(left=left, ops=[ast.In()], comparators=[ast.List() | ast.Tuple()]) if _is_rank(left):
            return True
        case ast.Name() | ast.Attribute() | ast.Call():
            if vocabulary.RANK_FLAG.search(last_name(dotted(test))):
                return True
    return None


def _is_rank(node: ast.AST) -> bool:
    return bool(vocabulary.RANK_NAME.search(dotted(node).rstrip("()")))
