"""What real loads do to the models of `families.py`, tensor by tensor and rank by rank, as JSON.

    python benchmarks/probe_vs_verify.py --output truth.json [--path zero3] [--family bias] [--model resnet]

It takes about two seconds a model and path on two cores, and needs what `bufaudit[verify]` installs. The file has the
small config of each model, so that a probe can be asked about the same one:

    {"transformers", "torch", "world_size", "models": [{"family", "class", "config_class", "config", "error", "notes",
     "paths": {"zero3": {"error": null or {"rank", "type", "message", "at"},
                "tensors": {name: {"kind", "shape", "dtype", "ranks", "partial", "reason"}}}}}]}
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from families import FAMILIES

from bufaudit.tracing.configs import ConfigRecipe, load_class, qualified
from bufaudit.tracing.targets import Target
from bufaudit.trial import PATHS, Trial, verify_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bufaudit.outcomes import ModelReport, PathReport


def main() -> None:
    """Write what was seen to a file, and a line for each model to standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--path", action="append", choices=PATHS)
    parser.add_argument("--family", default="", help="only families with this in their name")
    parser.add_argument("--model", action="append", default=[], help="only model types of this name")
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    chosen = [
        (family, name)
        for family, names in FAMILIES.items()
        for name in names
        if options.family in family and (not options.model or name.partition(".")[0] in options.model)
    ]
    began = time.monotonic()
    targets, failures = small_targets(chosen)
    result = verify_models(
        list(targets.values()),
        Trial(
            paths=options.path or PATHS,
            world_size=options.ranks,
            shrink=False,
            progress=lambda text: log(f"{time.monotonic() - began:7.1f} s  {text}"),
        ),
    )
    reports = dict(zip(targets, result.models, strict=True))
    models = [
        record(family, targets[name], reports[name])
        if name in reports
        else {"family": family, "class": class_path(name), "error": failures[name]}
        for family, name in chosen
    ]
    first = result.models[0]
    truth = {
        "transformers": first.transformers,
        "torch": first.torch,
        "world_size": options.ranks,
        "models": models,
    }
    options.output.write_text(json.dumps(truth, indent=1) + "\n")
    for line in summary(models):
        log(line)


def class_path(name: str) -> str:
    """`transformers.models.resnet.modeling_resnet:ResNetModel` for its short form in `FAMILIES`."""
    return f"transformers.models.{name}"


def small_targets(chosen: list[tuple[str, str]]) -> tuple[dict[str, Target], dict[str, str]]:
    """What to try, with a small config, by its name; and why some cannot be tried."""
    from bufaudit.trial.models import quiet
    from bufaudit.trial.shrinking import shrunk

    targets, failures = {}, {}
    with quiet():
        for _, name in chosen:
            try:
                model_class = load_class(class_path(name))
                small = shrunk(model_class, model_class.config_class())
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


def summary(models: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each model and path: how often each outcome was seen, over all ranks."""
    for model in models:
        if model["error"]:
            yield f"{model['class']}: {model['error']}"
        for path, seen in model.get("paths", {}).items():
            counts: dict[str, int] = {}
            for tensor in seen["tensors"].values():
                for outcome in tensor["ranks"]:
                    key = f"{tensor['kind']} {outcome}"
                    counts[key] = counts.get(key, 0) + 1
            error = f" {seen['error']['type']}: {seen['error']['message'][:80]}" if seen["error"] else ""
            yield f"{model['class']} {path}: {', '.join(f'{n} {key}' for key, n in sorted(counts.items()))}{error}"


def log(text: str) -> None:
    """Say something while the run goes on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
