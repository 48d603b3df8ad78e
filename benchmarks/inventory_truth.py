"""How far `bufaudit inventory` agrees with run time, over the classes of transformers and diffusers.

Collect first what is true: every model class is built on the meta device with its default configuration, and
each module class met is written down with the buffers that its instances really have:

    python benchmarks/inventory_truth.py --collect --truth truth.json

This needs torch, transformers and diffusers, and a minute or two on two cores. Models are built in worker
processes with a time and a memory limit, so a class that crashes or hangs costs itself only. Then compare:

    python benchmarks/inventory_truth.py --compare --truth truth.json
    python benchmarks/inventory_truth.py --compare --truth truth.json --inventory inventory.json

Without `--inventory` the command runs `python -m bufaudit inventory` over the installed transformers,
diffusers and torch.nn. `--cache DIR` in place of `--truth FILE` keeps `inventory_truth.json` in that folder.
Exit status: 0 when recall and precision reach `--target` (0.99), 1 when not, 2 when it could not run.

What is counted:

- A *triple* is a module class that was met, a buffer that an instance of it had of its own (no submodule's),
  and its persistence. It is *listed* when the inventory has a row for that class, own or inherited, whose name or
  pattern matches and whose persistence is equal or an expression. A pattern that is all `{}` matches nothing,
  since it says nothing. Recall is listed triples over all triples.
- A row for a class that was met, but that no instance bears out, is *conditional* when it says under which
  condition it runs, and else *false*. Rows that agree in class, name and persistence count once. A condition
  excuses no wrong persistence: such a row is false where no other row lists the buffer as it was met.
  Precision is listed triples over listed triples and false rows; conditional rows are outside of it.

The truth file also says where each buffer was first registered, and whether the class's own code did that.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.util
import inspect
import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.process import BaseProcess
    from types import CodeType, FrameType

    from torch import nn

GIB = 1 << 30
#: What a source file of diffusers must mention to be worth importing for the modules that it defines.
DEFINES_MODULES = re.compile(r"nn\.Module|ModelMixin|PreTrainedModel")
#: Packages whose classes need a framework other than torch.
NOT_TORCH = re.compile(r"flax|onnx")


# What was met


@dataclass(frozen=True, slots=True)
class BufferSeen:
    """A buffer of a class, as its instances have it.

    `count` is the number of instances that have it, `none` of those the number where its value is None.
    `registered_at` are the places, `package/file.py:line qualified.name`, that first registered it; a place
    that is no method of the instance itself ends in ` (outside)`.
    """

    name: str
    persistent: bool
    count: int
    none: int
    registered_at: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassSeen:
    """A module class, the number of its instances met and the buffers that they had of their own."""

    module: str
    name: str
    instances: int
    buffers: tuple[BufferSeen, ...]


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """A model class that was not built, or a file (`name` empty) that could not be imported; and why."""

    module: str
    name: str
    error: str


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything met in one run: `built` are the qualified names of the model classes that were built."""

    versions: dict[str, str]
    built: tuple[str, ...]
    unbuilt: tuple[Unbuilt, ...]
    classes: tuple[ClassSeen, ...]

    def dump(self) -> str:
        return json.dumps({"version": 1, **asdict(self)}, indent=1)

    @staticmethod
    def load(text: str) -> Truth:
        """Reads what `dump` wrote; raises ValueError for another version."""
        data = json.loads(text)
        if data.get("version") != 1:
            raise ValueError(f"truth file of version {data.get('version')!r}, expected 1")
        classes = tuple(
            ClassSeen(
                module=seen["module"],
                name=seen["name"],
                instances=seen["instances"],
                buffers=tuple(
                    BufferSeen(**{**buffer, "registered_at": tuple(buffer["registered_at"])})
                    for buffer in seen["buffers"]
                ),
            )
            for seen in data["classes"]
        )
        unbuilt = tuple(Unbuilt(**entry) for entry in data["unbuilt"])
        return Truth(data["versions"], tuple(data["built"]), unbuilt, classes)


# In a worker: build models and look at them


def package_path(filename: str) -> str:
    """`filename` from its top-level package on, as `package/file.py`."""
    path = Path(filename)
    top = path.parent
    while (top.parent / "__init__.py").exists():
        top = top.parent
    return path.relative_to(top.parent).as_posix()


def first_argument(frame: FrameType) -> object:
    """The value of the first parameter of the function that `frame` runs, None where it has none."""
    code: CodeType = frame.f_code
    return frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None


class Origins:
    """Where buffers are registered: listens to `torch.nn.Module.register_buffer` from its creation on."""

    def __init__(self) -> None:
        import torch
        from torch.nn.modules import module

        self._places: dict[tuple[type, str], set[tuple[CodeType, int, bool]]] = {}
        register = torch.nn.Module.register_buffer

        def recording(owner: nn.Module, name: str, tensor: Any, persistent: bool = True) -> None:
            if name not in owner._buffers:
                frame = sys._getframe(1)
                while frame.f_code.co_filename == module.__file__ and frame.f_back is not None:
                    frame = frame.f_back
                place = (frame.f_code, frame.f_lineno, first_argument(frame) is owner)
                self._places.setdefault((type(owner), name), set()).add(place)
            register(owner, name, tensor, persistent)

        torch.nn.Module.register_buffer = recording  # type: ignore[method-assign,assignment]

    def places(self, cls: type, name: str) -> set[str]:
        """The places known for the buffer `name` of instances of exactly `cls`."""
        return {
            f"{package_path(code.co_filename)}:{line} {code.co_qualname}{'' if own else ' (outside)'}"
            for code, line, own in self._places.get((cls, name), ())
        }


def defining_class(cls: type) -> type:
    """The class that source code defines: `cls`, or its first such base where `cls` was made at run time.

    Parametrizations make such classes. A class defined inside a function counts as defined.
    """
    for base in cls.__mro__:
        found: object = sys.modules.get(base.__module__)
        for part in base.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is base or "<locals>" in base.__qualname__:
            return base
    return cls


#: (module, qualified name) -> instances, {(buffer, persistent): (count, None values, places)}
Sighting = tuple[int, dict[tuple[str, bool], tuple[int, int, set[str]]]]
Sightings = dict[tuple[str, str], Sighting]


def merge(sightings: Sightings, more: Sightings) -> None:
    """Adds `more` to `sightings`."""
    for key, (instances, buffers) in more.items():
        total, known = sightings.get(key, (0, {}))
        for triple, (count, none, places) in buffers.items():
            old_count, old_none, old_places = known.get(triple, (0, 0, set()))
            known[triple] = (old_count + count, old_none + none, old_places | places)
        sightings[key] = (total + instances, known)


def look(model: nn.Module, origins: Origins) -> Sightings:
    """Every module of `model`, by class, with its own buffers."""
    sightings: Sightings = {}
    for module in model.modules():
        cls = type(module)
        real = defining_class(cls)
        buffers = {
            (name, name not in module._non_persistent_buffers_set): (
                1,
                int(value is None),
                origins.places(cls, name) or origins.places(real, name),
            )
            for name, value in module._buffers.items()
        }
        merge(sightings, {(real.__module__, real.__qualname__): (1, buffers)})
    return sightings


def builder(cls: type[nn.Module]) -> Callable[[], nn.Module]:
    """What builds `cls` with defaults; raises TypeError where there is no way to."""
    from transformers import PreTrainedModel

    if issubclass(cls, PreTrainedModel):
        config = cls.config_class
        if config is None:
            raise TypeError("no config_class")
        return lambda: cls(config())
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind not in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
    ]
    if needed:
        raise TypeError(f"needs {', '.join(needed)}")
    return cls


def candidates(module: str) -> dict[str, type[nn.Module]]:
    """The classes that the source file `module` defines and that may be built, by name.

    In transformers these are its models, without the bare bases that build nothing; in diffusers also the
    parts of models, since many of them are reached by no model that has defaults.
    """
    from torch import nn
    from transformers import PreTrainedModel

    wanted = PreTrainedModel if module.startswith("transformers.") else nn.Module
    return {
        name: value
        for name, value in vars(importlib.import_module(module)).items()
        if inspect.isclass(value) and issubclass(value, wanted) and value.__module__ == module
        if value.__name__ == name and value.__init__ is not PreTrainedModel.__init__
    }


def serve(pipe: Connection, memory: int) -> None:
    """A worker: receives (module, names to leave out) and answers in messages; None ends it.

    The messages are ("start", name) before a class is built, ("built", name, sightings) or
    ("failed", name, error) after it, and ("end",) when the module has no more.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", DIFFUSERS_VERBOSITY="error")
    # What libraries print while they are imported concerns nobody.
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), sys.stdout.fileno())
        os.dup2(null.fileno(), sys.stderr.fileno())
    import torch
    from transformers import initialization

    torch.set_num_threads(1)
    origins = Origins()
    while (order := pipe.recv()) is not None:
        module, skipped = order
        try:
            classes = candidates(module)
        except Exception as error:
            pipe.send(("failed", "", describe(error)))
            classes = {}
        for name in sorted(classes.keys() - skipped):
            pipe.send(("start", name))
            try:
                build = builder(classes[name])
                with (
                    initialization.no_init_weights(),
                    initialization.meta_device_safe_creation_ops(),
                    torch.device("meta"),
                ):
                    model = build()
                pipe.send(("built", name, look(model, origins)))
                del model
            except Exception as error:
                pipe.send(("failed", name, describe(error)))
        pipe.send(("end",))


def describe(error: BaseException) -> str:
    """An exception on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


# In the parent: hand out source files, survive workers


@dataclass(slots=True)
class Worker:
    """A worker process and what it is doing: `module`, and `current` once it has begun with a class."""

    process: BaseProcess
    pipe: Connection
    module: str | None = None
    current: str | None = None
    done: set[str] = field(default_factory=set)
    deadline: float = 0.0

    @staticmethod
    def start(memory: int) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, memory), daemon=True)
        process.start()
        theirs.close()
        return Worker(process, ours)

    def give(self, module: str, done: set[str], seconds: float) -> None:
        self.module, self.current, self.done = module, None, done
        self.deadline = time.monotonic() + seconds
        self.pipe.send((module, done))

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclass(slots=True)
class Collected:
    """What the workers have sent so far."""

    built: list[str] = field(default_factory=list)
    unbuilt: list[Unbuilt] = field(default_factory=list)
    sightings: Sightings = field(default_factory=dict)


def receive(worker: Worker, collected: Collected) -> None:
    """Takes one message of `worker`; raises EOFError where it died."""
    assert worker.module is not None
    match worker.pipe.recv():
        case ("start", name):
            worker.current = name
        case ("built", name, sightings):
            worker.done.add(name)
            worker.current = None
            collected.built.append(f"{worker.module}.{name}")
            merge(collected.sightings, sightings)
        case ("failed", name, error):
            worker.done.add(name)
            worker.current = None
            collected.unbuilt.append(Unbuilt(worker.module, name, error))
        case ("end",):
            worker.module = None


def collect(modules: Iterable[str], jobs: int, seconds: float, memory: int) -> Truth:
    """Builds the candidates of `modules` in `jobs` processes of `memory` bytes, each class in `seconds`."""
    waiting = deque((module, set[str]()) for module in modules)
    collected = Collected()
    workers = [Worker.start(memory) for _ in range(jobs)]
    # The first class also waits for the imports of torch and transformers.
    imports = 30.0
    try:
        while waiting or any(worker.module for worker in workers):
            for worker in workers:
                if worker.module is None and waiting:
                    module, done = waiting.popleft()
                    worker.give(module, done, seconds + imports)
            busy = [worker for worker in workers if worker.module is not None]
            ready = wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in busy:
                cause = None
                if worker.pipe in ready:
                    try:
                        receive(worker, collected)
                        worker.deadline = time.monotonic() + seconds
                    except (EOFError, OSError):
                        worker.process.join()
                        cause = f"worker died with exit code {worker.process.exitcode}"
                elif time.monotonic() > worker.deadline:
                    cause = f"not done after {seconds:g} s"
                if cause is None:
                    continue
                collected.unbuilt.append(Unbuilt(worker.module or "", worker.current or "", cause))
                if worker.module and worker.current:
                    waiting.appendleft((worker.module, worker.done | {worker.current}))
                worker.stop()
                workers[workers.index(worker)] = Worker.start(memory)
    finally:
        for worker in workers:
            worker.stop()
    return Truth(
        versions={name: version(name) for name in ("torch", "transformers", "diffusers")},
        built=tuple(sorted(collected.built)),
        unbuilt=tuple(sorted(collected.unbuilt, key=lambda entry: (entry.module, entry.name))),
        classes=tuple(freeze(collected.sightings)),
    )


def freeze(sightings: Sightings) -> Iterator[ClassSeen]:
    """`sightings` in the order of names."""
    for (module, name), (instances, buffers) in sorted(sightings.items()):
        yield ClassSeen(
            module,
            name,
            instances,
            tuple(
                BufferSeen(buffer, persistent, count, none, tuple(sorted(places)))
                for (buffer, persistent), (count, none, places) in sorted(buffers.items())
            ),
        )


def installed(package: str) -> Path:
    """The folder of an installed top-level package, which is not imported; raises LookupError without one."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LookupError(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0])


def source_modules() -> list[str]:
    """The dotted names of the source files whose classes are built."""
    transformers, diffusers = installed("transformers"), installed("diffusers")
    files = [*transformers.glob("models/*/modeling_*.py")]
    files += [
        path
        for path in diffusers.rglob("*.py")
        if not NOT_TORCH.search(path.name) and DEFINES_MODULES.search(path.read_text(encoding="utf-8"))
    ]
    return [
        package_path(str(path)).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in sorted(files)
    ]


# The comparison


@dataclass(frozen=True, slots=True)
class Row:
    """A registration as the inventory lists it, as far as the comparison needs it."""

    path: str
    line: int
    name: str
    persistent: bool | str
    condition: str | None

    def matches(self, buffer: BufferSeen) -> bool:
        return self.names(buffer) and (isinstance(self.persistent, str) or self.persistent == buffer.persistent)

    def names(self, buffer: BufferSeen) -> bool:
        if "{}" not in self.name:
            return self.name == buffer.name
        if not self.name.replace("{}", ""):
            return False
        return re.fullmatch(".+".join(map(re.escape, self.name.split("{}"))), buffer.name) is not None


@dataclass(frozen=True, slots=True)
class Miss:
    """A triple that is not listed or a row that is false, with a guess at the reason."""

    cls: str
    what: str
    where: str
    why: str

    @property
    def package(self) -> str:
        return self.cls.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts over some classes that were met.

    `none` of the triples have no value in any instance, `outside` are registered by code that is no method of
    the module itself.
    """

    classes: int = 0
    triples: int = 0
    listed: int = 0
    false: int = 0
    conditional: int = 0
    none: int = 0
    outside: int = 0

    @property
    def recall(self) -> float:
        return self.listed / self.triples if self.triples else 1.0

    @property
    def precision(self) -> float:
        counted = self.listed + self.false
        return self.listed / counted if counted else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was counted in each package, the triples that are not listed, and the rows that are false."""

    scores: dict[str, Score]
    missed: tuple[Miss, ...]
    false: tuple[Miss, ...]

    @property
    def total(self) -> Score:
        return sum(self.scores.values(), Score())


def static_name(qualified: str) -> str:
    """A class's qualified name as source code shows it, whether or not functions are marked in it."""
    return qualified.replace(".<locals>", "")


def read_inventory(text: str) -> dict[tuple[str, str], list[Row]]:
    """The registrations of an inventory report by (module, class); those outside of a class are left out."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for entry in json.loads(text)["registrations"]:
        if entry["class"] is None:
            continue
        persistent = entry["persistent"]
        row = Row(entry["path"], entry["line"], entry["name"], persistent, entry.get("condition"))
        rows.setdefault((entry["module"], static_name(entry["class"])), []).append(row)
    return rows


def compare(truth: Truth, inventory: dict[tuple[str, str], list[Row]]) -> Comparison:
    """Holds an inventory against what was met; classes that were not met are left out."""
    scores: dict[str, Score] = {}
    missed: list[Miss] = []
    false: list[Miss] = []
    for seen in truth.classes:
        package = seen.module.partition(".")[0]
        rows = inventory.get((seen.module, static_name(seen.name)), [])
        score, lost, wrong = compare_class(seen, rows)
        scores[package] = scores.get(package, Score()) + score
        missed += lost
        false += wrong
    return Comparison(scores, tuple(missed), tuple(false))


def compare_class(seen: ClassSeen, rows: list[Row]) -> tuple[Score, list[Miss], list[Miss]]:
    """The counts of one class, its triples that are not listed, and its rows that are false."""
    cls = f"{seen.module}.{seen.name}"
    unlisted = [buffer for buffer in seen.buffers if not any(row.matches(buffer) for row in rows)]
    missed = [
        Miss(
            cls,
            f"{buffer.name}, {'persistent' if buffer.persistent else 'non-persistent'}",
            "; ".join(buffer.registered_at) or "?",
            why_missed(buffer, rows),
        )
        for buffer in unlisted
    ]
    claims: dict[tuple[str, bool | str], list[Row]] = {}
    for row in rows:
        if not any(row.matches(buffer) for buffer in seen.buffers):
            claims.setdefault((row.name, row.persistent), []).append(row)
    false = [
        Miss(
            cls,
            f"{name}, persistent={persistent}",
            f"{same[0].path}:{same[0].line}",
            why_false(seen, same[0]),
        )
        for (name, persistent), same in claims.items()
        if not all(row.condition for row in same) or any(same[0].names(buffer) for buffer in unlisted)
    ]
    score = Score(
        classes=1,
        triples=len(seen.buffers),
        listed=len(seen.buffers) - len(unlisted),
        false=len(false),
        conditional=len(claims) - len(false),
        none=sum(buffer.none == buffer.count for buffer in seen.buffers),
        outside=sum(map(registered_outside, seen.buffers)),
    )
    return score, missed, false


def registered_outside(buffer: BufferSeen) -> bool:
    """Whether only code that is not a method of the module itself registered the buffer."""
    places = buffer.registered_at
    return bool(places) and all(place.endswith(" (outside)") for place in places)


def why_missed(buffer: BufferSeen, rows: list[Row]) -> str:
    """A guess why no row matches `buffer`."""
    named = [row for row in rows if row.names(buffer)]
    if named:
        return f"listed with persistent={named[0].persistent}"
    if registered_outside(buffer):
        return "registered by code outside the class"
    if not buffer.registered_at:
        return "written to _buffers, or copied from another module"
    if not rows:
        return "class has no rows"
    return "name not listed"


def why_false(seen: ClassSeen, row: Row) -> str:
    """A guess why no instance of `seen` has what `row` lists."""
    if any(row.names(buffer) for buffer in seen.buffers):
        return "its persistence differs"
    function, tests = surroundings(Path(row.path), row.line)
    if function not in {None, "__init__"}:
        return f"registered in `{function}`, which construction may not call"
    if tests:
        return f"under `{tests[-1]}`, which is not listed"
    if seen.buffers:
        return "not registered, other buffers are"
    return "class has no buffers"


def surroundings(path: Path, line: int) -> tuple[str | None, list[str]]:
    """The innermost function around a line of a file and the tests of the if statements around it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None, []
    function: str | None = None
    tests: list[str] = []
    node: ast.AST | None = tree
    while node is not None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function, tests = node.name, []
        elif isinstance(node, ast.If):
            tests.append(ast.unparse(node.test))
        node = next((child for child in ast.iter_child_nodes(node) if spans(child, line)), None)
    return function, tests


def spans(node: ast.AST, line: int) -> bool:
    """Whether a statement reaches over `line`."""
    return isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Lines in columns, those of numbers to the right."""
    every = [head, *lines]
    widths = [max(len(line[column]) for line in every) for column in range(len(head))]
    numeric = [all(re.fullmatch(r"[\d.]+%?", line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in every
    )


def totals(comparison: Comparison) -> str:
    """A table of the counts by package and of all."""
    total = comparison.total
    lines = [
        (
            package,
            str(score.classes),
            str(score.triples),
            str(score.listed),
            str(score.false),
            str(score.conditional),
            f"{100 * score.recall:.2f}%",
            f"{100 * score.precision:.2f}%",
        )
        for package, score in [*sorted(comparison.scores.items()), ("all", total)]
    ]
    head = ("package", "classes", "triples", "listed", "false", "conditional", "recall", "precision")
    notes = (
        f"of the triples {total.none} always have the value None, {total.outside} are registered by code "
        "outside the class"
    )
    return f"{table(head, lines)}\n{notes}"


def largest(title: str, misses: Sequence[Miss], rows: int) -> str:
    """The reasons of the misses, then the `rows` places with the most, each with a class that it concerns."""
    places: dict[tuple[str, str, str, str], list[str]] = {}
    for miss in misses:
        places.setdefault((miss.package, miss.what, miss.where, miss.why), []).append(miss.cls)
    ordered = sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [(str(len(classes)), classes[0], what, why, where) for (_, what, where, why), classes in ordered[:rows]]
    reasons = Counter(re.sub(r"`.*`", "`…`", miss.why) for miss in misses)
    text = f"{title}: {len(misses)} at {len(places)} places"
    text += "".join(f"\n{count:7} {why}" for why, count in reasons.most_common())
    return f"{text}\n{table(('count', 'class', 'buffer', 'why', 'where'), lines)}" if lines else text


def run_inventory() -> str:
    """The json of `bufaudit inventory` over the three packages; raises RuntimeError where it did not run."""
    folders = [installed("transformers"), installed("diffusers"), installed("torch") / "nn"]
    command = [sys.executable, "-m", "bufaudit", "inventory", *map(str, folders), "--output-format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2 or not done.stdout:
        raise RuntimeError(f"bufaudit inventory: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


# The command


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--collect", action="store_true", help="build the models and write the truth")
    what.add_argument("--compare", action="store_true", help="compare an inventory with the truth")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--truth", type=Path, metavar="FILE", help="the truth, written or read")
    where.add_argument("--cache", type=Path, metavar="DIR", help="keep the truth in this folder")
    parser.add_argument("--inventory", type=Path, metavar="FILE", help="json of an inventory that has been made")
    parser.add_argument("--target", type=float, default=0.99, help="recall and precision to reach (0.99)")
    parser.add_argument("--rows", type=int, default=25, help="lines in each table of differences (25)")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes (2)")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="limit for one class (60)")
    parser.add_argument("--memory", type=float, default=8.0, metavar="GIB", help="limit for one worker (8)")
    return parser.parse_args()


def collect_command(target: Path, jobs: int, seconds: float, memory: float) -> int:
    began = time.perf_counter()
    truth = collect(source_modules(), jobs, seconds, int(memory * GIB))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(truth.dump(), encoding="utf-8")
    print(
        f"{len(truth.built)} classes built, {len(truth.unbuilt)} not; {len(truth.classes)} module classes "
        f"met with {sum(len(seen.buffers) for seen in truth.classes)} (class, buffer, persistence) triples; "
        f"{time.perf_counter() - began:.0f} s"
    )
    return 0


def compare_command(source: Path, inventory: Path | None, target: float, rows: int) -> int:
    truth = Truth.load(source.read_text(encoding="utf-8"))
    listed = read_inventory(inventory.read_text(encoding="utf-8") if inventory else run_inventory())
    comparison = compare(truth, listed)
    print(", ".join(f"{name} {number}" for name, number in truth.versions.items()), end="\n\n")
    print(totals(comparison), end="\n\n")
    print(largest("not listed", comparison.missed, rows), end="\n\n")
    print(largest("false", comparison.false, rows))
    return 0 if min(comparison.total.recall, comparison.total.precision) >= target else 1


def main() -> int:
    args = arguments()
    truth: Path = args.truth or args.cache / "inventory_truth.json"
    if args.collect:
        return collect_command(truth, args.jobs, args.timeout, args.memory)
    try:
        return compare_command(truth, args.inventory, args.target, args.rows)
    except (OSError, RuntimeError, LookupError, ValueError) as error:
        print(f"cannot compare: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
