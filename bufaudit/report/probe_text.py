"""`text`: what becomes of a model's tensors, for people; what is lost by name, what is kept in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bufaudit.baseline.losses import exception_loss, tensor_loss
from bufaudit.grouping import grouped, runs_of, shown_runs
from bufaudit.outcomes import REFERENCE_PATH
from bufaudit.report.escapes import printable
from bufaudit.report.terminal import BLUE, BOLD, CYAN, RED, YELLOW, align, count, paint, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

    from bufaudit.baseline.losses import Loss
    from bufaudit.grouping import TensorGroup
    from bufaudit.outcomes import Kind, ModelReport, PathReport, TensorReport

_NARROWEST = 40
_WORST_FIRST = ("raised", "uninitialised", "lost", "overwritten", "dropped", "diverged", "untraced")
_NOUNS: dict[Kind, str] = {
    "parameter": "parameter",
    "persistent_buffer": "persistent buffer",
    "non_persistent_buffer": "non-persistent buffer",
}


def render(models: Sequence[ModelReport], *, known: Set[Loss], color: bool, width: int) -> str:
    """Each model with its paths, on each path the lost and untraced tensors in groups, and a summary.

    Losses that are `known` are only counted. Where a path ends in an exception, so are the tensors that it takes with
    it. Sentences are wrapped to `width` cells, at least 40; names are never cut.
    """
    style = _Style(color, max(width, _NARROWEST))
    paths = [_listed(model, path, known) for model in models for path in model.paths]
    lines: list[str] = []
    for model in models:
        lines += [*_model_lines(model, style), ""]
        for listed in paths:
            if listed.model is model:
                lines += _path_lines(listed, style)
    first, *rest = _closing_lines(models, paths)
    return "\n".join([*lines, paint(first, BOLD, color), *rest]) + "\n"


@dataclass(frozen=True, slots=True)
class _Style:
    """Whether to colour, and how many cells a line has."""

    color: bool
    width: int

    def note(self, text: str) -> Iterator[str]:
        """A sentence under a headline."""
        sign = "   = "
        first, *rest = wrapped(sign, text, " " * len(sign), self.width)
        yield f"   {paint('=', BLUE, self.color)} {first.removeprefix(sign)}"
        yield from rest

    def headline(self, word: str, text: str, color: str) -> Iterator[str]:
        """A word in colour and what follows it."""
        first, *rest = wrapped("", word + text, "    ", self.width)
        yield paint(word, color, self.color) + first.removeprefix(word)
        yield from rest

    def place(self, place: str) -> str:
        """A line of source under a headline."""
        return f"  {paint('-->', BLUE, self.color)} {paint(printable(place), BOLD, self.color)}"


@dataclass(frozen=True, slots=True, eq=False)
class _ListedPath:
    """A path and what is to be said of it by name: its new losses, and what could not be followed.

    `known` counts the losses, an exception included, that the baseline has.
    """

    model: ModelReport
    path: PathReport
    lost: tuple[TensorReport, ...]
    untraced: tuple[TensorReport, ...]
    known: int
    known_error: bool

    @property
    def counts(self) -> bool:
        """Whether losses here are findings."""
        return self.path.path != REFERENCE_PATH

    @property
    def raises(self) -> bool:
        """Whether it ends in an exception that is news."""
        return self.path.error is not None and not self.known_error

    @property
    def style(self) -> str:
        """How to paint its losses."""
        return RED if self.counts else CYAN


def _listed(model: ModelReport, path: PathReport, known: Set[Loss]) -> _ListedPath:
    lost = [tensor for tensor in path.tensors if tensor.lost and not (path.error and tensor.verdict == "raised")]
    new = tuple(tensor for tensor in lost if tensor_loss(model, path, tensor) not in known)
    known_error = exception_loss(model, path) in known
    return _ListedPath(
        model,
        path,
        lost=new,
        untraced=tuple(tensor for tensor in path.tensors if tensor.verdict == "untraced"),
        known=len(lost) - len(new) + known_error,
        known_error=known_error,
    )


def _model_lines(model: ModelReport, style: _Style) -> Iterator[str]:
    name = printable(model.class_name or model.target)
    target = f" ({printable(model.target)})" if model.target != (model.class_name or model.target) else ""
    versions = f"torch {printable(model.torch)}"
    if model.transformers is not None:
        versions = f"transformers {printable(model.transformers)}, {versions}"
    yield f"{paint(name, BOLD, style.color)}{target} on {count(model.world_size, 'rank')}, {versions}"
    if model.error is not None:
        yield from wrapped("  not built: ", model.error, "    ", style.width)
    for note in model.notes:
        yield from wrapped("  note: ", note, "    ", style.width)


def _path_lines(listed: _ListedPath, style: _Style) -> Iterator[str]:
    path = listed.path
    remark = "" if listed.counts else " (a reference loader, whose losses do not count)"
    yield paint(printable(path.path), BOLD, style.color) + remark
    yield from align([(f"  {_NOUNS[kind]}s", _in_numbers(found)) for kind, found in path.verdicts.items() if found])
    if path.untraced is not None:
        yield from style.headline("  untraced", f": {path.untraced}", YELLOW)
    yield ""
    if path.error is not None:
        yield from style.headline("raised", f" {path.error.type}: {path.error.message}", listed.style)
        if path.error.at is not None:
            yield style.place(path.error.at)
        known = "; the baseline knows of it" if listed.known_error else ""
        yield from style.note(f"the path ends here, on rank {path.error.rank}{known}")
        yield ""
    for group in grouped(listed.lost):
        yield from _group_lines(group, path.loader, listed.style, style)
    for group in grouped(listed.untraced):
        yield from _group_lines(group, None, YELLOW, style)


def _group_lines(group: TensorGroup, loader: str | None, color: str, style: _Style) -> Iterator[str]:
    tensor = group.sample
    yield f"{paint(tensor.verdict, color, style.color)} {printable(str(group.pattern))}"
    if tensor.declared_at is not None:
        yield style.place(tensor.declared_at)
    shape = ", ".join(map(str, tensor.shape))
    what = f"{count(len(group.tensors), _NOUNS[tensor.kind])} of {tensor.dtype}, shape ({shape})"
    yield from style.note(f"{what}; {_by_rank(tensor.ranks)}")
    if tensor.partial:
        yield from style.note("partial: the right value reaches a part of it only")
    if tensor.reason is not None:
        yield from style.note(tensor.reason)
    if loader is not None:
        yield from style.note(f"note: {loader}: the loader")
    yield ""


def _by_rank(ranks: Sequence[str]) -> str:
    """`dropped on ranks 0…3`, or each outcome with its ranks where they differ."""
    by_outcome: dict[str, list[int]] = {}
    for rank, outcome in enumerate(ranks):
        by_outcome.setdefault(outcome, []).append(rank)
    return ", ".join(
        f"{outcome} on {'rank' if len(members) == 1 else 'ranks'} {shown_runs(runs_of(members))}"
        for outcome, members in by_outcome.items()
    )


def _in_numbers(verdicts: Mapping[str, int]) -> str:
    """`2 dropped, 30 kept`, the worst first."""
    order = [*(verdict for verdict in _WORST_FIRST if verdict in verdicts), *verdicts]
    return ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in dict.fromkeys(order))


def _closing_lines(models: Sequence[ModelReport], paths: Sequence[_ListedPath]) -> Iterator[str]:
    counted = [each for each in paths if each.counts]
    raised = sum(each.raises for each in counted)
    followed = [each for each in counted if each.path.untraced is None]
    lost = Counter(tensor.verdict for each in counted for tensor in each.lost)
    hidden = sum(each.known for each in counted)
    found = [f"{count(lost.total(), 'lost tensor')} ({_in_numbers(lost)})"] if lost else []
    if raised:
        found.append(f"{count(raised, 'path')} that {'ends' if raised == 1 else 'end'} in an exception")
    if found:
        yield f"Found {' and '.join(found)}, on {_names(each for each in counted if each.lost or each.raises)}."
    elif followed:
        classes = len({id(each.model) for each in followed})
        yield f"No losses{' but known ones' if hidden else ''} on {_names(followed)}, in {count(classes, 'model')}."
    elif counted or not paths:
        yield "No path could be followed."
    else:
        yield "No losses that count."
    reference = sum(len(each.lost) for each in paths if not each.counts)
    if reference:
        yield f"Not counted: {reference} lost on {REFERENCE_PATH}."
    if hidden:
        yield f"Not shown: {hidden} in the baseline."
    untraced = sum(len(each.untraced) for each in counted)
    if untraced:
        yield f"{count(untraced, 'tensor')} could not be followed."
    unfollowed = [each for each in counted if each.path.untraced is not None]
    if unfollowed and followed:
        yield f"{count(len(unfollowed), 'path')} could not be followed: {_names(unfollowed)}."
    unbuilt = sum(model.error is not None for model in models)
    if unbuilt:
        yield f"{count(unbuilt, 'model')} could not be built."


def _names(paths: Iterable[_ListedPath]) -> str:
    return ", ".join(dict.fromkeys(printable(listed.path.path) for listed in paths))
