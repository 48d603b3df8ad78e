"""Mutated real files through all that a scan does: nothing may raise, hang, or break a law.

    python benchmarks/fuzz_scan.py                                  # 20,000 inputs, about ten minutes of one core
    python benchmarks/fuzz_scan.py --inputs 2000 --seed 7 --jobs 2
    python benchmarks/fuzz_scan.py --seed 7 --only 1234             # the batch of one input again, and smaller

The inputs are pieces of files of the installed transformers, torch and diffusers (none is imported), and the examples
of the rules' pages, changed by the steps of `mutations.py`: words that rules look for in place of others, statements
and expressions from elsewhere, calls with other arguments, rare forms, comments that silence, damaged tokens, lines,
indentation, nesting, encodings. An input is made from the seed and its number alone. The share of inputs that
Python parses is printed: most should.

Ten inputs at a time are a package of modules that import each other. Each batch is decoded, cut into blocks, read,
indexed, checked, silenced, and reported in every format, and its inventory is taken, in this process (or with `--jobs`
in workers, which tell a crash of the interpreter too). What counts as trouble:

- an exception that is not caught, and one that is caught while a file is read ("bufaudit fails on this file");
- more than 5 s of the processor for one input;
- a law that does not hold: the facts of a gated text are those of the whole one where that parses, facts survive their
  codec, a scan from the cache finds what the first one found.

Then come giants (100,000 lines, 10,000 brackets, 50,000 elements, and the like), each scanned, listed and reported
within the same limit.

A troublesome input is made smaller, as long as the same goes wrong in the same place, and kept in `--failures`, if
given. Needs transformers, torch and diffusers, or such of them as are installed. Exit status: 0 where nothing
went wrong, 1 where something did, 2 when it could not run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import repeat
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeVar
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from giants import giants  # noqa: E402
from mutations import Recipe, Sources, made, random_recipe, vocabulary_words  # noqa: E402

import bufaudit  # noqa: E402
from bufaudit import catalogue  # noqa: E402
from bufaudit.codec import from_json, to_json  # noqa: E402
from bufaudit.report import INVENTORY_FORMATS, SCAN_FORMATS, render_inventory, render_scan  # noqa: E402
from bufaudit.source.extract import GATES, extract  # noqa: E402
from bufaudit.source.facts import FileFacts  # noqa: E402
from bufaudit.source.text import Unreadable, decode  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

T = TypeVar("T")

PACKAGES = ("transformers", "torch", "diffusers")
#: Files of each package that pieces are taken from.
_FILES = 150
_LARGEST_FILE = 150_000
BATCH = 10
#: Seconds for one input.
LIMIT = 5.0
#: Seconds that are spent on making one troublesome input smaller.
_PATIENCE = 30.0
#: So many newlines make any text long enough for the gate.
_PADDING = "\n" * 4001


class CannotRunError(Exception):
    """What is missing, in words."""


class TooSlowError(BaseException):
    """Time is up; no `except Exception` may catch it."""


class BrokenLawError(Exception):
    """A law of the package that an input breaks."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of some inputs: how many Python parses, and how many findings of each rule there are."""

    inputs: int = 0
    parsed: int = 0
    with_facts: int = 0
    registrations: int = 0
    findings: Counter[str] = field(default_factory=Counter)

    def plus(self, other: Seen) -> Seen:
        """Both together."""
        return Seen(
            self.inputs + other.inputs,
            self.parsed + other.parsed,
            self.with_facts + other.with_facts,
            self.registrations + other.registrations,
            self.findings + other.findings,
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong: what and where, in one line that stays the same for smaller inputs, and in full."""

    number: int
    what: str
    details: str
    inputs: tuple[bytes, ...]


# What is run


def examine(inputs: Sequence[bytes], folder: Path) -> Seen:
    """Everything that is done with some files, as the modules of a package in an empty folder.

    Raises whatever goes wrong, `BrokenLawError` among it.
    """
    facts = [lawful_facts(data) for data in inputs]
    result, inventory = scan_and_report(inputs, folder)
    if scan(folder) != result:
        raise BrokenLawError("a scan from the cache finds something else")
    return Seen(
        len(inputs),
        sum(each.unreadable is None for each in facts),
        sum(bool(each.functions or each.registrations or each.restores) for each in facts),
        len(inventory.registrations),
        Counter(result.by_code),
    )


def scan_and_report(inputs: Sequence[bytes], folder: Path) -> tuple[bufaudit.ScanResult, bufaudit.InventoryResult]:
    """A scan of some files, their inventory, and both in every format."""
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    for index, data in enumerate(inputs):
        (package / f"modular_m{index}.py").write_bytes(data)
    result = scan(folder)
    if any("please report it" in finding.message for finding in result.findings):
        raise BrokenLawError("a file is unreadable by a mistake of ours")
    for format in SCAN_FORMATS:
        for statistics, color in ((False, False), (True, True)):
            report = render_scan(
                result, format, rules=catalogue.rules(), statistics=statistics, color=color, width=60, base=folder
            )
            check_form(format, report)
    inventory = bufaudit.inventory([package], isolated=True, jobs=1, cache_dir=folder / "cache")
    for format in INVENTORY_FORMATS:
        check_form(format, render_inventory(inventory, format))
    return result, inventory


def lawful_facts(data: bytes) -> FileFacts:
    """The facts of a file, once they have been seen to keep the laws."""
    text = decode(data)
    if isinstance(text, Unreadable):
        return FileFacts(unreadable=text)
    facts = extract(text)
    if from_json(FileFacts, to_json(facts)) != facts:
        raise BrokenLawError("facts do not survive their codec")
    whole = extract(text + _PADDING, gated=False)
    if whole.unreadable is None and extract(text + _PADDING) != whole:
        raise BrokenLawError("gated facts are not those of the whole text")
    return facts


def scan(folder: Path) -> bufaudit.ScanResult:
    """A scan by all rules, whatever their confidence."""
    return bufaudit.scan(
        [folder / "package"], isolated=True, min_confidence="low", jobs=1, cache_dir=folder / "cache", select=["ALL"]
    )


def check_form(format: str, report: bytes) -> None:
    """A report is well-formed."""
    text = report.decode()
    if format in ("json", "sarif", "gitlab"):
        json.loads(text)
    elif format == "jsonl":
        for line in text.splitlines():
            json.loads(line)
    elif format == "junit":
        ElementTree.fromstring(text)


# Trouble


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlowError` where the code inside takes longer, by the processor's time: others may be busy too."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    began = time.process_time()
    try:
        yield
        # What runs in C may not have been interrupted.
        if time.process_time() - began > seconds:
            raise TooSlowError(f"more than {seconds:g} s")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(
    number: int,
    inputs: Sequence[bytes],
    limit: float = LIMIT,
    run: Callable[[Sequence[bytes], Path], T] = examine,  # type: ignore[assignment]
) -> T | Trouble:
    """What becomes of some inputs, or what goes wrong."""
    with tempfile.TemporaryDirectory() as name:
        try:
            with time_limit(limit):
                return run(inputs, Path(name).resolve())
        except (Exception, TooSlowError) as error:
            return Trouble(number, described(error), traceback.format_exc(), tuple(inputs))


def described(error: BaseException) -> str:
    """The kind of an error, and the line of the package that it comes from; a law's has none, nor has lost time."""
    if isinstance(error, TooSlowError | BrokenLawError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{ROOT}/bufaudit/" in frame.filename] or frames[-1:]
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"


def smaller(trouble: Trouble) -> Trouble:
    """The same trouble from less: lines go as long as the same goes wrong, then characters."""
    until = time.perf_counter() + _PATIENCE
    (data,) = trouble.inputs
    best = trouble
    for unit in (b"\n", b""):
        parts = data.split(b"\n") if unit else [data[index : index + 1] for index in range(len(data))]
        size = max(len(parts) // 2, 1)
        while size and time.perf_counter() < until:
            position = 0
            while position < len(parts) and time.perf_counter() < until:
                rest = parts[:position] + parts[position + size :]
                again = outcome(trouble.number, [unit.join(rest)])
                if isinstance(again, Trouble) and again.what == trouble.what:
                    parts, best = rest, again
                else:
                    position += size
            size //= 2
        data = unit.join(parts)
    return best


# The inputs


def sources() -> Sources:
    """Pieces of what is installed, and the examples of the rules, which are as many."""
    examples = [
        code
        for rule in catalogue.rules().values()
        for heading in catalogue.HEADINGS
        for code in rule.code_blocks(heading)
    ]
    real = [text for package in PACKAGES for text in real_texts(package)]
    if not real:
        raise CannotRunError(f"none of {', '.join(PACKAGES)} is installed")
    times = max(len(real) // (2 * len(examples)), 1)
    return Sources((*real, *examples * times), vocabulary_words())


def real_texts(package: str) -> list[str]:
    """Some of an installed package's files in which something may happen to state, evenly over all of them."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return []
    texts = []
    for path in sorted(Path(spec.submodule_search_locations[0]).rglob("*.py")):
        if path.stat().st_size > _LARGEST_FILE:
            continue
        text = path.read_text("utf-8", "replace")
        if any(True for gate in GATES for _ in gate.offsets(text)):
            texts.append(text)
    return texts[:: max(len(texts) // _FILES, 1)]


def recipe(seed: int, number: int, texts: Sources) -> Recipe:
    """The recipe of one input."""
    return random_recipe(Random(f"{seed} {number}"), texts)


@cache
def _shared_sources() -> Sources:
    return sources()


def run_batch(seed: int, start: int, count: int) -> Seen | list[Trouble]:
    """The inputs of one batch through everything; what goes wrong is told input by input, where it can be."""
    texts = _shared_sources()
    inputs = [made(recipe(seed, start + index, texts), texts) for index in range(count)]
    result = outcome(start, inputs)
    if isinstance(result, Seen):
        return result
    alone = [outcome(start + index, [data]) for index, data in enumerate(inputs)]
    troubles = [smaller(each) for each in alone if isinstance(each, Trouble)]
    if troubles:
        return troubles
    # Together they may take longer than one of them may.
    result = outcome(start, inputs, LIMIT * count)
    return result if isinstance(result, Seen) else [result]


def batches(seed: int, count: int, jobs: int) -> Iterator[Seen | list[Trouble]]:
    """What becomes of all batches, in order."""
    starts = range(0, count, BATCH)
    sizes = [min(BATCH, count - start) for start in starts]
    if jobs == 1:
        yield from map(run_batch, repeat(seed), starts, sizes)
        return
    done = 0
    while done < len(starts):
        try:
            with ProcessPoolExecutor(jobs) as pool:
                for result in pool.map(run_batch, repeat(seed), starts[done:], sizes[done:]):
                    done += 1
                    yield result
        except BrokenProcessPool:
            # Nobody knows whose fault it is but by running them one at a time, up to the one that does it again.
            while not isinstance(crash := run_apart(seed, starts[done], sizes[done]), Crash):
                done += 1
                yield crash
            done += 1
            yield [Trouble(crash.start, "the interpreter crashes", f"in the batch from {crash.start}", ())]


@dataclass(frozen=True, slots=True)
class Crash:
    """A batch that ends the process."""

    start: int


def run_apart(seed: int, start: int, count: int) -> Seen | list[Trouble] | Crash:
    """A batch in a process of its own."""
    try:
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(run_batch, seed, start, count).result()
    except BrokenProcessPool:
        return Crash(start)


# What is shown


def shown(trouble: Trouble, seed: int) -> str:
    """Trouble as text: how to see it again, and the input where it is short."""
    lines = [
        f"input {trouble.number}: {trouble.what}",
        f"  python benchmarks/fuzz_scan.py --seed {seed} --only {trouble.number}",
    ]
    lines += [f"  {data[:600]!r}" for data in trouble.inputs[:1]]
    return "\n".join((*lines, *(f"    {line}" for line in trouble.details.splitlines()[-8:])))


def keep(trouble: Trouble, folder: Path) -> None:
    """Write the inputs of some trouble."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(trouble.inputs):
        (folder / f"input_{trouble.number + index}.py").write_bytes(data)
    (folder / f"input_{trouble.number}.txt").write_text(f"{trouble.what}\n{trouble.details}", "utf-8", "replace")


def fuzz(options: argparse.Namespace) -> bool:
    """Run, print, and tell whether nothing went wrong."""
    texts = _shared_sources()
    print(f"{len(texts.texts)} texts, {len(texts.words)} words, seed {options.seed}", flush=True)
    if options.only is not None:
        troubles = fuzz_inputs(iter([run_batch(options.seed, options.only // BATCH * BATCH, BATCH)]), options.seed)
    else:
        troubles = fuzz_inputs(batches(options.seed, options.inputs, options.jobs), options.seed)
        troubles += fuzz_giants()
    if options.failures:
        for trouble in troubles:
            keep(trouble, options.failures)
    return not troubles


def fuzz_inputs(results: Iterator[Seen | list[Trouble]], seed: int) -> list[Trouble]:
    """Print what becomes of batches; what went wrong."""
    began = time.perf_counter()
    troubles: list[Trouble] = []
    seen = Seen()
    for count, result in enumerate(results, start=1):
        if isinstance(result, Seen):
            seen = seen.plus(result)
        else:
            troubles += result
            print("\n".join(shown(trouble, seed) for trouble in result), flush=True)
        if count * BATCH % 1000 == 0:
            print(f"{count * BATCH} inputs after {time.perf_counter() - began:.0f} s", flush=True)
    print(f"{seen.inputs} inputs without trouble; Python parses {seen.parsed / max(seen.inputs, 1):.1%} of them")
    print(f"{seen.with_facts} with facts; {seen.registrations} registrations")
    print("findings:", ", ".join(f"{code} {count}" for code, count in sorted(seen.findings.items())))
    return troubles


def fuzz_giants() -> list[Trouble]:
    """Print what becomes of giants; what went wrong."""
    troubles: list[Trouble] = []
    slowest = (0.0, "")
    for name, text in giants().items():
        began = time.process_time()
        result = outcome(-1, [text.encode()], run=scan_and_report)
        slowest = max(slowest, (time.process_time() - began, name))
        if isinstance(result, Trouble):
            troubles.append(replace(result, what=f"{name}: {result.what}"))
            print(f"{name}: {result.what}", *result.details.splitlines()[-8:], sep="\n    ", flush=True)
    print(f"{len(giants())} giants, of which the slowest takes {slowest[0]:.1f} s: {slowest[1]}")
    return troubles


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--inputs", type=int, default=20_000, help="how many (20,000)")
    parser.add_argument("--seed", type=int, default=1, help="of chance (1)")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes (1: none, all in this one)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only the batch of this input")
    parser.add_argument("--failures", type=Path, metavar="DIR", help="where to write troublesome inputs")
    options = parser.parse_args(given)
    if options.inputs < 1 or options.jobs < 1:
        parser.error("--inputs and --jobs must be at least 1")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run, and give the exit status."""
    options = arguments(given)
    try:
        return 0 if fuzz(options) else 1
    except CannotRunError as error:
        print(f"fuzz_scan: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
