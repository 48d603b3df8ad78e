"""The results of `probe_vs_verify.py` as a page of Markdown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from families import FIGURES

from bufaudit.outcomes import KINDS, verdict_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Result = Mapping[str, Any]
    Model = Mapping[str, Any]

_HEAD = """\
# What the probe says, and what real loads do

The models of `families.py`, with small configs, each loaded for real on {ranks} ranks of the CPU, by DeepSpeed ZeRO-3
and by `from_pretrained`, and probed with the same config. Every tensor is compared on every rank. Values cannot tell
`dropped` from `overwritten`: to verify both are `lost`. Made with:

    python benchmarks/probe_vs_verify.py --output newest.json
    PYTHONPATH=.venv/old/transformers-5.5.3 python benchmarks/probe_vs_verify.py --output 5.5.3.json
    python benchmarks/probe_vs_verify.py --table benchmarks/probe_vs_verify.md newest.json 5.5.3.json
"""
_ABSENT = "ModuleNotFoundError: No module named 'transformers.models."


def page(results: Sequence[Result]) -> str:
    """The whole page for some releases."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Sequence[Result]) -> Iterator[str]:
    yield _HEAD.format(ranks=" or ".join(sorted({str(result["world_size"]) for result in results})))
    yield from _table(
        ("transformers", "torch", "families", "models", "outcomes compared", "models that differ"),
        [
            (
                result["transformers"],
                result["torch"],
                len({model["family"] for model in _tried(result)}),
                len(_tried(result)),
                f"{sum(_outcomes(model, result) for model in _tried(result)):,}",
                sum(not _agree(model) for model in _tried(result)),
            )
            for result in results
        ],
    )
    yield "\n## The first figures: persistent buffers under ZeRO-3\n"
    yield from _figures(results)
    for result in results:
        yield f"\n## transformers {result['transformers']}\n"
        yield "Parameters, persistent buffers and non-persistent buffers; then the verdicts on all of them.\n"
        yield from _models(result)
        yield from _left_out(result)


def _figures(results: Sequence[Result]) -> Iterator[str]:
    rows = []
    for name, settings in FIGURES.items():
        found = [
            next((model for model in _tried(result) if model["class"].endswith(f".{name}")), None) for result in results
        ]
        cells = ["" if model is None else _of_buffers(model["paths"]["zero3"]) for model in found]
        config = ", ".join(f"{key}={value}" for key, value in settings.items()) or "default"
        rows.append((name.partition(":")[2], config, *cells))
    yield from _table(("model", "config", *(result["transformers"] for result in results)), rows)


def _of_buffers(path: Mapping[str, Any]) -> str:
    """How many persistent buffers are kept on each rank, or how the path ends."""
    if path["error"] is not None:
        return f"raises {path['error']['type']}: {path['error']['message']}"
    by_rank = list(zip(*(tensor["ranks"] for tensor in _of_kind(path, "persistent_buffer")), strict=True))
    kept = [f"{ranks.count('kept')} of {len(ranks)}" for ranks in by_rank]
    if len(set(kept)) == 1:
        return f"{kept[0]} kept"
    return "; ".join(f"rank {rank}: {text} kept" for rank, text in enumerate(kept))


def _models(result: Result) -> Iterator[str]:
    rows = []
    for model in _tried(result):
        path = next(iter(model["paths"].values()))
        cells = [text for name in _paths(result) for text in _verdicts(model["paths"].get(name))]
        kinds = " + ".join(str(len(list(_of_kind(path, kind)))) for kind in KINDS)
        rows.append(
            (model["family"], model["class"].partition(":")[2], kinds, *cells, "yes" if _agree(model) else "NO")
        )
    columns = [f"{path}, {who}" for path in _paths(result) for who in ("verify", "probe")]
    yield from _table(("family", "class", "tensors", *columns, "agree"), rows)


def _left_out(result: Result) -> Iterator[str]:
    others = [model for model in result["models"] if model["error"]]
    absent = sum(model["error"].startswith(_ABSENT) for model in others)
    if absent:
        yield f"\n{absent} of the models are not in this release."
    for model in others:
        if not model["error"].startswith(_ABSENT):
            yield f"\n{model['class'].partition(':')[2]} is left out: {model['error'].rstrip(':')}."


def _verdicts(path: Mapping[str, Any] | None) -> tuple[str, str]:
    """The verdicts of verify and of the probe."""
    if path is None:
        return "", ""
    real = Counter(verdict_of(tensor["ranks"]) for tensor in path["tensors"].values())
    probe: Counter[str] = Counter()
    for counts in path["probe"]["verdicts"].values():
        probe.update(counts)
    return _counts(real), _counts(probe)


def _counts(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))


def _of_kind(path: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    return (tensor for tensor in path["tensors"].values() if tensor["kind"] == kind)


def _tried(result: Result) -> list[Model]:
    return [model for model in result["models"] if model.get("paths")]


def _paths(result: Result) -> list[str]:
    return list(dict.fromkeys(name for model in _tried(result) for name in model["paths"]))


def _outcomes(model: Model, result: Result) -> int:
    return sum(len(path["tensors"]) for path in model["paths"].values()) * int(result["world_size"])


def _agree(model: Model) -> bool:
    return not any(path["probe"]["disagreements"] for path in model["paths"].values())


def _table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    heads = list(heads)
    yield _row(heads)
    yield _row("---" for _ in heads)
    yield from map(_row, rows)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in cells)} |"
