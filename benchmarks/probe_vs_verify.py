"""What real loads do to the models of `families.py`, tensor by tensor and rank by rank, and whether the probe knows it.

    python benchmarks/probe_vs_verify.py --output RESULT.json [--path zero3] [--family bias] [--model resnet]
    python benchmarks/probe_vs_verify.py --truth RESULT.json --output RESULT.json
    python benchmarks/probe_vs_verify.py --table benchmarks/probe_vs_verify.md RESULT.json OTHER-RELEASE.json

The first loads each model with real DeepSpeed and real ranks, about two seconds a model and path on two cores, then
probes it with the same small config; it needs what `bufaudit[verify]` installs. The second only probes, against real
loads of before. Both print where the two disagree, and exit with 1 if they do anywhere. Another release of transformers
is the one that stands first on PYTHONPATH, such as `.venv/old/transformers-5.5.3`. The third writes the table.

    {"transformers", "torch", "world_size", "models": [{"family", "class", "config_class", "config", "error", "notes",
     "paths": {"zero3": {"error": null or {"rank", "type", "message", "at"},
                "tensors": {name: {"kind", "shape", "dtype", "ranks", "partial", "reason"}},
                "probe": {"error", "verdicts": {kind: {verdict: count}}, "disagreements": [text]}}}}]}
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agreement import disagreements
from agreement_table import page
from families import FAMILIES, FIGURES

from bufaudit.tracing.configs import ConfigRecipe, load_class, make_config, qualified
from bufaudit.tracing.targets import Target
from bufaudit.tracing.trace import trace_model
from bufaudit.trial import PATHS, Trial, verify_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bufaudit.outcomes import ModelReport, PathReport

#: The family of `FIGURES`.
_FIGURES = "first figures"


def main() -> None:
    """Write what was seen to a file, and a line for each disagreement to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="*", help="what --table is made of")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--truth", type=Path, help="real loads of before, which are then not repeated")
    parser.add_argument("--path", action="append", choices=PATHS)
    parser.add_argument("--family", default="", help="only families with this in their name")
    parser.add_argument("--model", action="append", default=[], help="only model types of this name")
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    if (options.table is None) == (options.output is None):
        parser.error("one of --output and --table says what to write")
    if options.table is not None:
        options.table.write_text(page([json.loads(path.read_text()) for path in options.results]))
        return
    chosen = [
        (family, name)
        for family, name in every_model()
        if options.family in family and (not options.model or name.partition(".")[0] in options.model)
    ]
    if options.truth is None:
        result = real_loads(chosen, options.path or PATHS, options.ranks)
    else:
        result = stored_loads(options.truth, chosen, options.path or PATHS)
    probe_models(result)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(report(result))


def every_model() -> Iterator[tuple[str, str]]:
    """All families with their models, as `resnet.modeling_resnet:ResNetModel`."""
    for name in FIGURES:
        yield _FIGURES, name
    for family, names in FAMILIES.items():
        for name in names:
            yield family, name


def class_path(name: str) -> str:
    """`transformers.models.resnet.modeling_resnet:ResNetModel` for its short form in `FAMILIES`."""
    return f"transformers.models.{name}"


# --- real loads


def real_loads(chosen: Sequence[tuple[str, str]], paths: Sequence[str], world_size: int) -> dict[str, Any]:
    """What real loads do to some models."""
    began = time.monotonic()
    targets, failures = small_targets(chosen)
    trial = Trial(
        paths=paths,
        world_size=world_size,
        shrink=False,
        progress=lambda text: log(f"{time.monotonic() - began:7.1f} s  {text}"),
    )
    reports = dict(zip(targets, verify_models(list(targets.values()), trial).models, strict=True))
    models = []
    for family, name in chosen:
        if name in reports:
            models.append(record(family, targets[name], reports[name]))
        else:
            models.append({"family": family, "class": class_path(name), "error": failures[name], "paths": {}})
    first = next(iter(reports.values()))
    return {"transformers": first.transformers, "torch": first.torch, "world_size": world_size, "models": models}


def small_targets(chosen: Sequence[tuple[str, str]]) -> tuple[dict[str, Target], dict[str, str]]:
    """What to try, with a small config, by its name; and why some cannot be tried."""
    from bufaudit.trial.models import quiet
    from bufaudit.trial.shrinking import shrunk

    targets, failures = {}, {}
    with quiet():
        for family, name in chosen:
            settings = FIGURES[name] if family == _FIGURES else {}
            try:
                model_class = load_class(class_path(name))
                whole = make_config(ConfigRecipe(qualified(model_class.config_class), settings=settings))
                small = shrunk(model_class, whole, frozenset(settings))
            except Exception as error:
                failures[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                continue
            # Not `to_json_string`, whose infinities only files of a config are read with.
            values = json.loads(json.dumps(small.config.to_diff_dict()))
            targets[name] = Target(name, class_path(name), ConfigRecipe(qualified(type(small.config)), values))
            log(f"{name}: {' '.join(small.notes)[:160]}")
    return targets, failures


def record(family: str, target: Target, report: ModelReport) -> dict[str, Any]:
    """A model for the file."""
    assert target.config is not None
    return {
        "family": family,
        "class": target.model_class,
        "config_class": target.config.config_class,
        "config": target.config.values,
        "error": report.error,
        "notes": report.notes,
        "paths": {path.path: path_record(path) for path in report.paths},
    }


def path_record(path: PathReport) -> dict[str, Any]:
    """A path for the file."""
    keys = ("kind", "shape", "dtype", "ranks", "partial", "reason")
    return {
        "error": path.error and asdict(path.error),
        "tensors": {tensor.name: {key: getattr(tensor, key) for key in keys} for tensor in path.tensors},
    }


def stored_loads(file: Path, chosen: Sequence[tuple[str, str]], paths: Sequence[str]) -> dict[str, Any]:
    """What a file says of some models and paths, if it was made with the release that is installed."""
    import transformers

    result: dict[str, Any] = json.loads(file.read_text())
    if result["transformers"] != transformers.__version__:
        log(f"{file} is of transformers {result['transformers']}, installed is {transformers.__version__}")
        sys.exit(2)
    wanted = {(family, class_path(name)) for family, name in chosen}
    result["models"] = [model for model in result["models"] if (model["family"], model["class"]) in wanted]
    for model in result["models"]:
        model["paths"] = {name: path for name, path in model.get("paths", {}).items() if name in paths}
    return result


# --- the probe


def probe_models(result: dict[str, Any]) -> None:
    """Add to each path of each model what the probe says of it."""
    for model in result["models"]:
        paths = model["paths"]
        if not paths:
            continue
        log(f"probing {model['class']}")
        recipe = ConfigRecipe(model["config_class"], model["config"])
        probed = trace_model(Target(model["class"], model["class"], recipe), list(paths), result["world_size"])
        for name in paths:
            paths[name]["probe"] = {"error": probed.error, "verdicts": {}, "disagreements": []}
        for path in probed.paths:
            paths[path.path]["probe"] = {
                "error": path.error and asdict(path.error),
                "verdicts": path.verdicts,
                "disagreements": disagreements(paths[path.path], path),
            }
        if probed.error is not None:
            for path in paths.values():
                path["probe"]["disagreements"].append(f"the probe could not build it: {probed.error}")


def report(result: dict[str, Any]) -> int:
    """Say where the two disagree, and what was compared; 1 if they disagree anywhere."""
    counts: Counter[str] = Counter()
    for model in result["models"]:
        if model["error"]:
            log(f"not tried: {model['class']}: {model['error']}")
        for name, path in model["paths"].items():
            counts["outcomes"] += len(path["tensors"]) * result["world_size"]
            differences = path["probe"]["disagreements"]
            counts["paths that differ"] += bool(differences)
            for text in differences[:5]:
                log(f"{model['class']}, {name}: {text}")
            if len(differences) > 5:
                log(f"{model['class']}, {name}: and {len(differences) - 5} more")
    log(
        f"transformers {result['transformers']}: {counts['outcomes']:,} outcomes compared, "
        f"{counts['paths that differ']} paths differ"
    )
    return int(counts["paths that differ"] > 0)


def log(text: str) -> None:
    """Say something while the run goes on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
