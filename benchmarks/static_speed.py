"""How fast a scan is, against ruff and transformers-mlinter, over the `models/` folder of the installed transformers.

    python benchmarks/static_speed.py
    python benchmarks/static_speed.py --with-mlinter --json speed.json
    python benchmarks/static_speed.py --path src/ --file src/model.py --rounds 3

Every command runs in a new process, all of them in turn, once unmeasured and then `--rounds` times (5); what is
shown are medians, of wall time and of the CPU time of the process and its workers. A ratio is that of two medians
of the same run, so that it holds on another machine about as well as on this one. What other programs do at the same
time changes wall time much and CPU time little: where the machine is busy at the start, the verdict goes by CPU
time alone, else by both.

- `cold`: `bufaudit scan --isolated --no-cache --select ALL`, against `ruff check --no-cache --isolated`. Ruff's own
  time depends on what it prints, so it is measured with `--statistics` too; that ratio has no target.
- `warm`: the same scan with a full cache, minus a start of the interpreter.
- `one file`: a scan of one file with the facts of the project cached, against `python -c "import click"`; once with
  the file as it was cached, once as it would be after an edit.
- `mlinter`: transformers-mlinter with its default rules, against `cold`. It takes minutes and runs once, and only
  with `--with-mlinter`.
- The phases of a cold scan, in one process.
- The gate: facts taken from whole files must give the findings that facts of gated files give.

Needs ruff beside the interpreter or on the path, and click; imports nothing of transformers. Exit status: 0 when all
targets are met, 1 when one is not, 2 when it could not run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bufaudit.checks import check  # noqa: E402
from bufaudit.checks.context import Subject  # noqa: E402
from bufaudit.collector import collector_paused  # noqa: E402
from bufaudit.project import Project  # noqa: E402
from bufaudit.source.discovery import discover  # noqa: E402
from bufaudit.source.extract import extract, gated_source  # noqa: E402
from bufaudit.source.reading import FactsStore, read_file  # noqa: E402
from bufaudit.source.text import decode, parse, read_source  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bufaudit.source.facts import FileFacts
    from bufaudit.source.text import Unreadable

#: Processes that run or wait to, by core, from which on the machine counts as busy.
BUSY = 0.3

Verdict = Literal["ok", "over", ""]


class CannotRunError(Exception):
    """What is missing, in words."""


# What is measured


@dataclass(frozen=True, slots=True)
class Command:
    """A command with the exit statuses that it may end with, and the file that is its standard input."""

    arguments: tuple[str, ...]
    statuses: frozenset[int] = frozenset({0, 1})
    stdin: Path | None = None


@dataclass(frozen=True, slots=True)
class Seconds:
    """What one run, or the median of several, took."""

    wall: float
    cpu: float

    def over(self, other: Seconds) -> Seconds:
        """The ratios."""
        return Seconds(self.wall / other.wall, self.cpu / other.cpu)

    def minus(self, other: Seconds) -> Seconds:
        """The differences."""
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)


@dataclass(frozen=True, slots=True)
class Row:
    """One measure: ours against a reference, as a ratio (`x`) or a difference (`s`), and the most it may be."""

    name: str
    ours: Seconds
    reference_name: str
    reference: Seconds
    result: Seconds
    unit: Literal["x", "s"]
    target: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a cold scan in one process."""

    name: str
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Gate:
    """What gated and whole files give: numbers of findings, and the files in which findings or facts differ."""

    gated: int
    ungated: int
    differing_findings: tuple[str, ...]
    differing_facts: tuple[str, ...]
    ungated_seconds: Seconds


# Running commands


def run(command: Command, folder: Path) -> Seconds:
    """Run a command in `folder`, its output thrown away."""
    # As installed: compiled once, by the unmeasured round, whatever the caller's environment says of that.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.getenv("PYTHONPATH"))))
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (command.stdin or Path(os.devnull)).open("rb") as stdin:
        began = time.perf_counter()
        done = subprocess.run(
            command.arguments,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            check=False,
        )
        wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in command.statuses:
        said = done.stderr.decode(errors="replace").strip()
        raise CannotRunError(f"{' '.join(command.arguments)} ended with {done.returncode}: {said}")
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def run_in_turn(commands: Mapping[str, Command], rounds: int, folder: Path) -> dict[str, Seconds]:
    """The medians of commands that take turns, after a first round that fills caches."""
    taken: dict[str, list[Seconds]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            tell(f"round {number} of {rounds}: {name}")
            seconds = run(command, folder)
            if number:
                taken[name].append(seconds)
    return {
        name: Seconds(median(each.wall for each in all_), median(each.cpu for each in all_))
        for name, all_ in taken.items()
    }


def commands_for(tree: Path, file: Path, folder: Path) -> dict[str, Command]:
    """The commands of every row but mlinter's; `folder` takes the cache and the edited file."""
    python = sys.executable
    scan = (python, "-m", "bufaudit", "scan", "--isolated")
    cached = (*scan, "--cache-dir", str(folder / "cache"))
    ruff = (program("ruff"), "check", "--no-cache", "--isolated")
    edited = folder / "edited.py"
    edited.write_bytes(file.read_bytes() + b"\n# edited\n")
    return {
        "ruff": Command((*ruff, str(tree))),
        "cold": Command((*scan, "--no-cache", "--select", "ALL", str(tree))),
        "ruff --statistics": Command((*ruff, "--statistics", str(tree))),
        "python -c pass": Command((python, "-c", "pass")),
        "warm": Command((*cached, "--select", "ALL", str(tree))),
        "import click": Command((python, "-c", "import click")),
        "one file": Command((*cached, str(file))),
        "one file, edited": Command((*cached, "--stdin-filename", str(file)), stdin=edited),
    }


def rows_of(taken: Mapping[str, Seconds], *, calm: bool) -> list[Row]:
    """The rows that have targets, and those that only inform."""

    def ratio(name: str, reference: str, target: float | None) -> Row:
        result = taken[name].over(taken[reference])
        return Row(
            name, taken[name], reference, taken[reference], result, "x", target, judged(result, target, calm=calm)
        )

    over_start = taken["warm"].minus(taken["python -c pass"])
    start = taken["python -c pass"]
    rows = [
        ratio("cold", "ruff", 3.0),
        ratio("cold", "ruff --statistics", None),
        Row("warm", taken["warm"], "python -c pass", start, over_start, "s", 0.5, judged(over_start, 0.5, calm=calm)),
        ratio("one file", "import click", 3.0),
        ratio("one file, edited", "import click", 3.0),
    ]
    if "mlinter" in taken:
        rows.append(ratio("mlinter", "cold", None))
    return rows


def judged(result: Seconds, target: float | None, *, calm: bool) -> Verdict:
    """Whether a target is met, by CPU time and on a calm machine by wall time too."""
    if target is None:
        return ""
    return "ok" if result.cpu <= target and (result.wall <= target or not calm) else "over"


# Inside one process


class Stopwatch:
    """Adds up what the parts of a run take."""

    def __init__(self) -> None:
        self._taken: dict[str, Seconds] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside to a part."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        known = self._taken.get(name, Seconds(0.0, 0.0))
        self._taken[name] = Seconds(known.wall + time.perf_counter() - wall, known.cpu + time.process_time() - cpu)

    def __getitem__(self, name: str) -> Seconds:
        return self._taken[name]


def phases_and_gate(tree: Path) -> tuple[list[Phase], Gate]:
    """Where a cold scan's time goes, and whether the gate changes what it finds."""
    watch = Stopwatch()
    with watch.part("discovery"):
        files = [os.path.abspath(file.path) for file in discover([tree], root=tree).files]
    tell("phases: reading")
    with watch.part("reading"):
        texts = {path: decoded(path) for path in files}
    readable = {path: text for path, text in texts.items() if isinstance(text, str)}
    tell("phases: parsing and facts")
    # Once in parts and once as a whole; what the parts leave of the whole is the making of facts from trees. A tree
    # is dropped before the next file, as in a scan.
    gated: dict[str, FileFacts] = {}
    with collector_paused():
        for path, text in readable.items():
            lines = text.replace("\r\n", "\n").replace("\r", "\n")
            with watch.part("blocks"):
                source, _ = gated_source(lines)
            with watch.part("parsing"):
                parse(source)
            with watch.part("extract"):
                gated[path] = extract(text)
    tell("phases: index and checks")
    with watch.part("index and checks"):
        gated_findings = findings_of(gated)
    tell("gate: facts of whole files")
    with watch.part("ungated"):
        ungated = {path: extract(text, gated=False) for path, text in readable.items()}
    ungated_findings = findings_of(ungated)
    facts = watch["extract"].minus(watch["blocks"]).minus(watch["parsing"])
    phases = [
        *(Phase(name, watch[name]) for name in ("discovery", "reading", "blocks", "parsing")),
        Phase("facts", facts),
        Phase("index and checks", watch["index and checks"]),
    ]
    differing = {finding[0] for finding in gated_findings ^ ungated_findings}
    gate = Gate(
        len(gated_findings),
        len(ungated_findings),
        tuple(sorted(differing)),
        tuple(path for path in readable if gated[path] != ungated[path]),
        watch["ungated"],
    )
    return phases, gate


def decoded(path: str) -> str | Unreadable:
    """A file's text."""
    data = read_source(path)
    return decode(data) if isinstance(data, bytes) else data


def findings_of(facts: Mapping[str, FileFacts]) -> set[tuple[str, str, int, int]]:
    """What all rules find, before suppressions: path, code, line, column."""
    outside: dict[str, FileFacts | None] = {}

    def load(path: str) -> FileFacts | None:
        if path in facts:
            return facts[path]
        if path not in outside:
            outside[path] = read_file(path) if os.path.isfile(path) else None
        return outside[path]

    store = FactsStore()
    project = Project(load, store.parts, store.mentions, ())
    return {
        (path, problem.code, problem.place.line, problem.place.column)
        for path, known in facts.items()
        if known.unreadable is None
        for problem in check(Subject(path, known, project))
    }


# What it runs on


def program(name: str) -> str:
    """The path of a program beside this interpreter, or else on the path."""
    folders = os.pathsep.join((str(Path(sys.executable).parent), os.getenv("PATH", os.defpath)))
    found = shutil.which(name, path=folders)
    if found is None:
        raise CannotRunError(f"{name} is not installed")
    return found


def models_folder() -> Path:
    """The `models/` folder of the installed transformers, which is not imported."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        raise CannotRunError("transformers is not installed; --path DIR takes another tree")
    return Path(spec.submodule_search_locations[0]) / "models"


def typical_file(tree: Path) -> Path:
    """The file of middle size among the tree's `modeling_*.py`, or else among all its Python files."""
    files = sorted(tree.rglob("modeling_*.py")) or sorted(tree.rglob("*.py"))
    if not files:
        raise CannotRunError(f"{tree} holds no Python file")
    return sorted(files, key=lambda path: path.stat().st_size)[len(files) // 2]


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "bufaudit": commit(),
        **{name: installed(name) for name in ("ruff", "transformers", "transformers-mlinter", "click")},
    }


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def commit() -> str:
    """The commit that is measured, with a plus where files have changed since; the version outside a repository."""
    from bufaudit.version import __version__

    asked = ("git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=7", "--match=")
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return __version__
    return f"{__version__} ({done.stdout.strip()})" if done.returncode == 0 else __version__


def installed(name: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# What is shown


def tell(text: str) -> None:
    """Progress, for a person who waits."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def shown(rows: Sequence[Row], phases: Sequence[Phase], gate: Gate) -> str:
    """Everything as text."""
    lines = [
        f"{'':18}{'wall s':>8}{'CPU s':>8}   {'against':19}{'wall s':>8}{'CPU s':>8}   {'wall':>7} {'CPU':>8}   target"
    ]
    for row in rows:
        target = "" if row.target is None else f"{row.target:g} {row.unit}  {row.verdict}"
        lines.append(
            f"{row.name:18}{row.ours.wall:8.3f}{row.ours.cpu:8.3f}   {row.reference_name:19}{row.reference.wall:8.3f}"
            f"{row.reference.cpu:8.3f}   {row.result.wall:7.2f} {row.result.cpu:6.2f} {row.unit}   {target}".rstrip()
        )
    whole = sum(phase.seconds.cpu for phase in phases)
    lines += ["", "phases of a cold scan in one process"]
    for phase in phases:
        share = phase.seconds.cpu / whole
        lines.append(f"{phase.name:18}{phase.seconds.wall:8.3f}{phase.seconds.cpu:8.3f}   {share:4.0%}")
    lines += [
        "",
        f"gate: {gate.gated} findings from gated files, {gate.ungated} from whole ones"
        f" (their facts take {gate.ungated_seconds.cpu:.1f} CPU s);"
        f" findings differ in {len(gate.differing_findings)} files, facts in {len(gate.differing_facts)}",
        *(f"  differs: {path}" for path in (*gate.differing_findings, *gate.differing_facts)[:10]),
    ]
    return "\n".join(lines)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure scans against ruff and transformers-mlinter.")
    parser.add_argument("--path", type=Path, help="the tree to scan (default: models/ of the installed transformers)")
    parser.add_argument("--file", type=Path, help="the one file (default: the modeling_*.py of middle size)")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default: 5)")
    parser.add_argument("--with-mlinter", action="store_true", help="run transformers-mlinter too, once: minutes")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args(given)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def measure(options: argparse.Namespace) -> bool:
    """Measure and print; whether all targets are met."""
    tree = (options.path or models_folder()).resolve()
    file = (options.file or typical_file(tree)).resolve()
    about = machine()
    load = os.getloadavg()
    calm = load[0] < BUSY * (os.cpu_count() or 1)
    print(", ".join(f"{name} {value}" for name, value in about.items() if value is not None))
    print(f"{sum(1 for _ in tree.rglob('*.py'))} files in {'/'.join(tree.parts[-2:])}; one file: {file.name}")
    print(f"load average at the start {load[0]:.2f}: {'calm' if calm else 'BUSY, so go by CPU time'}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        taken = run_in_turn(commands_for(tree, file, folder), options.rounds, folder)
        if options.with_mlinter:
            tell("mlinter, once")
            taken["mlinter"] = run(Command((program("mlinter"), "--no-cache", "--no-progress", str(tree))), folder)
    rows = rows_of(taken, calm=calm)
    phases, gate = phases_and_gate(tree)
    tell("")
    print(f"\n{shown(rows, phases, gate)}")
    if options.json:
        document = {
            "version": 1,
            "machine": about,
            "load_average": load,
            "calm": calm,
            "rounds": options.rounds,
            "commands": {name: asdict(seconds) for name, seconds in taken.items()},
            "rows": [asdict(row) for row in rows],
            "phases": [asdict(phase) for phase in phases],
            "gate": asdict(gate),
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    equal = not (gate.differing_findings or gate.differing_facts)
    return equal and all(row.verdict != "over" for row in rows)


def main(given: Sequence[str] | None = None) -> int:
    """Run, and give the exit status."""
    try:
        return 0 if measure(arguments(given)) else 1
    except CannotRunError as error:
        print(f"static_speed: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
