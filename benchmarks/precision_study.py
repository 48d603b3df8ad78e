"""How much of what bufaudit reports about code that nobody tuned it to is a defect, by two independent readers.

    python benchmarks/precision_study.py draw
    python benchmarks/precision_study.py render

`draw` downloads the releases that `precision_packages.txt` names, scans each, and draws findings of high and medium
confidence for people to judge: `--size` of them (150), of each rule that fires at least `--at-least` (5; all, where it
has fewer), the rest at random over all findings, as long as no package has more than `--share` of the sample (0.15).
Where a rule's findings all lie in one package, its minimum counts for more than that limit. The order of chance is
that of a hash of `--seed` and the finding, so that the same releases give the same sample on every machine, and one
release more does not shuffle the others. The sample is written as JSON, each finding with the lines around it.

Of a release only the `.py` files are unpacked, and nothing of it is imported or run by us; where there is no wheel,
pip runs the release's own build script to learn its name. Releases are kept in `--cache`.

Judgements are JSON: from a finding's `id` to a list of objects with `judgement`, which is "defect", "arguable" or
"false", and `sentence`, which says why. `--judgements` may be given twice, for a file of each reader; in the end each
finding must have exactly two.

`render` writes `precision.md` from both. What counts is "defect" alone: a reader's figure is the share of findings
that are one to that reader, and the lower reader's must reach 95 % for high and 80 % for medium confidence.

Needs pip, and for `draw` a package index. Exit status: 0 when the sample has its size, or the figures are reached; 1
when not; 2 when it could not run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bufaudit.results import Confidence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from bufaudit.version import __version__  # noqa: E402

#: The share of a confidence's findings that must be defects.
TARGETS: dict[Confidence, float] = {"high": 0.95, "medium": 0.80}
JUDGEMENTS = ("defect", "arguable", "false")
#: Lines shown before and after a finding's.
CONTEXT = 15

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)\s*==\s*([\w.+!-]+)")
#: Wheels for one of these, or else the source.
_PYTHONS = ("3.11", "3.12", "3.13", "3.10", "3.9", "3.8")


class CannotRunError(Exception):
    """What is missing or wrong, in words."""


@dataclass(frozen=True, slots=True)
class Release:
    """A package at a version."""

    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package}-{self.version}"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One finding of a release, as the sample has it; `source` are numbered lines, its own marked by `>`."""

    id: str
    package: str
    version: str
    path: str
    line: int
    rule: str
    confidence: Confidence
    message: str
    symbol: str
    related: tuple[dict[str, Any], ...] = ()
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one reader says of one finding."""

    judgement: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How a sample is drawn; see the top of this file."""

    seed: int = 1
    size: int = 150
    at_least: int = 5
    share: float = 0.15


# Releases


def read_packages(text: str) -> list[Release]:
    """The releases of a list: `name==version` on a line, `#` starts a comment."""
    releases = []
    for number, line in enumerate(text.splitlines(), start=1):
        pin = line.partition("#")[0].strip()
        if not pin:
            continue
        match = _PIN.fullmatch(pin)
        if match is None:
            raise CannotRunError(f"line {number} of the packages is no `name==version`: {pin}")
        releases.append(Release(re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]))
    names = [release.package for release in releases]
    if len(set(names)) < len(names):
        raise CannotRunError(f"packages that are named twice: {', '.join(sorted(repeated(names)))}")
    return releases


def repeated(names: Iterable[str]) -> list[str]:
    """What occurs more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def fetch(release: Release, cache: Path) -> Path:
    """The folder with the Python files of a release, downloaded where the cache does not have it."""
    folder = cache / str(release)
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        archive = download(release, Path(name) / "archive")
        unpacked = Path(name) / "unpacked"
        unpacked.mkdir()
        unpack(archive, unpacked)
        # Only what is whole gets its name.
        unpacked.rename(folder)
    return folder


def download(release: Release, folder: Path) -> Path:
    """A release's wheel, or else its source."""
    wheels = (("--only-binary=:all:", "--python-version", python) for python in _PYTHONS)
    said = ""
    for flags in (*wheels, ("--no-binary=:all:",)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += [*flags, "--dest", str(folder), f"{release.package}=={release.version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return next(folder.iterdir())
        said = done.stderr.strip()
    raise CannotRunError(f"pip cannot download {release}: {said.splitlines()[-1] if said else 'it does not say why'}")


def unpack(archive: Path, folder: Path) -> None:
    """The Python files of a wheel or of a source release, whose own top folder goes."""
    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder, [name for name in wheel.namelist() if name.endswith(".py")])
        return
    with tarfile.open(archive) as source:
        members = [member for member in source.getmembers() if member.isfile() and member.name.endswith(".py")]
        for member in members:
            member.name = member.name.partition("/")[2] or member.name
        source.extractall(folder, members, filter="data")


# Findings


def scan(folder: Path, jobs: int | None) -> list[dict[str, Any]]:
    """What bufaudit reports about a release, with the settings that it has by default."""
    command = [sys.executable, "-m", "bufaudit", "scan", ".", "--isolated", "--no-cache", "--select", "ALL"]
    command += ["--min-confidence", "medium", "--output-format", "json"]
    command += [] if jobs is None else ["--jobs", str(jobs)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.getenv("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise CannotRunError(f"the scan of {folder.name} ended with {done.returncode}: {done.stderr.strip()}")
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return findings


def drawable(release: Release, findings: Iterable[Mapping[str, Any]], folder: Path) -> list[Drawn]:
    """The findings of a release with the source around them."""
    return [
        Drawn(
            id=f"{release}/{finding['path']}:{finding['line']}:{finding['column']} {finding['code']}",
            package=release.package,
            version=release.version,
            path=finding["path"],
            line=finding["line"],
            rule=finding["code"],
            confidence=finding["confidence"],
            message=finding["message"],
            symbol=finding["symbol"],
            related=tuple(finding["related"]),
            source=around(folder / finding["path"], finding["line"]),
        )
        for finding in findings
    ]


def around(path: Path, line: int) -> tuple[str, ...]:
    """The numbered lines of a file around one of them, which is marked."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ()
    lines = re.split(r"\r\n|\r|\n", text)
    shown = range(max(1, line - CONTEXT), min(len(lines), line + CONTEXT) + 1)
    return tuple(f"{'>' if number == line else ' '}{number:6} {lines[number - 1]}".rstrip() for number in shown)


# The sample


def draw(findings: Iterable[Drawn], plan: Plan) -> list[Drawn]:
    """The findings that are judged, in the order of packages and places."""
    by_chance = sorted(findings, key=lambda each: hashlib.sha256(f"{plan.seed} {each.id}".encode()).digest())
    most = max(int(plan.share * plan.size), 1)
    chosen: dict[str, Drawn] = {}

    def take(candidates: Iterable[Drawn], count: int, limit: int) -> int:
        """Choose up to `count` more, as long as their packages are below the limit; how many are still lacking."""
        for each in candidates:
            of_package = sum(other.package == each.package for other in chosen.values())
            if count and each.id not in chosen and of_package < limit:
                chosen[each.id] = each
                count -= 1
        return count

    for rule in sorted({each.rule for each in by_chance}):
        of_rule = [each for each in by_chance if each.rule == rule]
        lacking = take(of_rule, plan.at_least, most)
        take(of_rule, lacking, len(by_chance) + 1)
    if len(chosen) > plan.size:
        raise CannotRunError(f"{plan.at_least} findings of each rule are {len(chosen)}, more than the sample may have")
    take(by_chance, plan.size - len(chosen), most)
    return sorted(chosen.values(), key=lambda each: (each.package, each.path, each.line, each.rule, each.id))


def sample_document(releases: Sequence[Release], findings: Sequence[Drawn], plan: Plan) -> dict[str, Any]:
    """The sample and what it is drawn from, as JSON has it."""
    counts = Counter((each.package, each.confidence) for each in findings)
    return {
        "version": 1,
        "bufaudit": commit(),
        **asdict(plan),
        "packages": [
            {**asdict(release), **{confidence: counts[release.package, confidence] for confidence in TARGETS}}
            for release in releases
        ],
        "by_rule": dict(sorted(Counter(each.rule for each in findings).items())),
        "sample": [asdict(each) for each in draw(findings, plan)],
    }


def commit() -> str:
    """The commit that scanned, with a plus where files have changed since; the version outside a repository."""
    asked = ("git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=7", "--match=")
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else __version__


# Judgements


def read_judgements(documents: Iterable[Mapping[str, Any]], ids: Iterable[str]) -> dict[str, tuple[Judgement, ...]]:
    """The two judgements of each finding of the sample, from one file or from one of each reader."""
    joined: dict[str, list[Judgement]] = {name: [] for name in ids}
    for document in documents:
        for name, judgements in document.items():
            if name not in joined:
                raise CannotRunError(f"a judgement of what is not in the sample: {name}")
            joined[name] += [_judgement(name, each) for each in judgements]
    wrong = [name for name, judgements in joined.items() if len(judgements) != 2]
    if wrong:
        raise CannotRunError(f"{len(wrong)} findings do not have two judgements, the first is {wrong[0]}")
    return {name: tuple(judgements) for name, judgements in joined.items()}


def _judgement(name: str, given: Mapping[str, str]) -> Judgement:
    if set(given) != {"judgement", "sentence"} or given["judgement"] not in JUDGEMENTS or not given["sentence"].strip():
        raise CannotRunError(f"the judgement of {name} must be one of {', '.join(JUDGEMENTS)}, with a sentence")
    return Judgement(given["judgement"], " ".join(given["sentence"].split()))


@dataclass(frozen=True, slots=True)
class Tally:
    """What the two readers say of some findings: how often each says each, and how often they say the same."""

    findings: int
    readers: tuple[Counter[str], Counter[str]]
    agreed: int

    @property
    def precision(self) -> float:
        """The share of defects by the reader who sees fewer of them."""
        return min(reader["defect"] for reader in self.readers) / self.findings


def tally(pairs: Sequence[tuple[Judgement, ...]]) -> Tally:
    """The figures of some findings."""
    first = Counter(one.judgement for one, _ in pairs)
    second = Counter(other.judgement for _, other in pairs)
    return Tally(len(pairs), (first, second), sum(one.judgement == other.judgement for one, other in pairs))


# The page


def rendered(document: Mapping[str, Any], judgements: Mapping[str, tuple[Judgement, ...]], command: str) -> str:
    """The study as Markdown."""
    sample = [Drawn(**each) for each in document["sample"]]
    by_confidence = figures(sample, judgements)
    by_rule = {
        rule: tally([judgements[each.id] for each in sample if each.rule == rule])
        for rule in sorted({each.rule for each in sample})
    }
    everything = tally([judgements[each.id] for each in sample])
    judged = [
        (
            each.package,
            each.version,
            f"`{each.path}:{each.line}`",
            each.rule,
            each.confidence,
            *(judgement.judgement for judgement in judgements[each.id]),
            sentence_of(*judgements[each.id]),
        )
        for each in sample
    ]
    drawn = Counter(each.package for each in sample)
    releases = [
        (each["package"], each["version"], each["high"], each["medium"], drawn[each["package"]])
        for each in document["packages"]
    ]
    found = sum(document["by_rule"].values())
    return "\n".join(
        (
            "# Precision on code that nobody tuned the rules to",
            "",
            introduction(document, found),
            "",
            "The findings and then this page come from",
            "",
            *(f"    {line}" for line in command.splitlines()),
            "",
            "## Figures",
            "",
            *_tallied("confidence", by_confidence),
            "",
            *(f"- {line}" for line in verdicts(by_confidence)),
            "",
            *_tallied("rule", by_rule),
            "",
            f"The readers agree on {everything.agreed} of {everything.findings} findings.",
            "",
            "## Packages",
            "",
            *table(("package", "version", "high", "medium", "judged"), releases, numbers=range(2, 5)),
            "",
            "## Judgements",
            "",
            "Where the readers differ, both sentences are given.",
            "",
            *table(
                ("package", "version", "place", "rule", "confidence", "judgement 1", "judgement 2", "in a sentence"),
                judged,
            ),
            "",
        )
    )


def introduction(document: Mapping[str, Any], found: int) -> str:
    """What was drawn, and how it was judged."""
    return (
        f"bufaudit {document['bufaudit']} has {found} findings of high and medium confidence in"
        f" {len(document['packages'])} packages. {len(document['sample'])} of them were drawn by the seed"
        f" {document['seed']}: at least {document['at_least']} of each rule that fires, or all where it has fewer,"
        f" the rest at random over all findings, no more than {document['share']:.0%} from one package unless a rule"
        " has too few elsewhere. Two readers judged each by the code around it, independently. A *defect* is what the"
        " maintainer would agree to, *arguable* is what may be meant so, *false* is wrong. Only defects count."
    )


def verdicts(by_confidence: Mapping[Confidence, Tally]) -> list[str]:
    """Whether each confidence reaches its target, in words."""
    return [
        f"{name}: {each.precision:.1%} are defects by the lower reader, target {TARGETS[name]:.0%}:"
        f" {'reached' if each.precision >= TARGETS[name] else 'not reached'}"
        for name, each in by_confidence.items()
    ]


def figures(sample: Sequence[Drawn], judgements: Mapping[str, tuple[Judgement, ...]]) -> dict[Confidence, Tally]:
    """What the readers say of the findings of each confidence that the sample has."""
    pairs = {name: [judgements[each.id] for each in sample if each.confidence == name] for name in TARGETS}
    return {name: tally(some) for name, some in pairs.items() if some}


def sentence_of(one: Judgement, other: Judgement) -> str:
    """One reader's sentence, or both where they differ."""
    return one.sentence if one.judgement == other.judgement else f"{one.sentence} / {other.sentence}"


def _tallied(what: str, tallies: Mapping[Any, Tally]) -> list[str]:
    head = [what, "findings"]
    head += [f"{judgement} {reader}" for reader in (1, 2) for judgement in JUDGEMENTS] + ["agreed", "precision 1, 2"]
    rows = []
    for name, each in tallies.items():
        counts = [reader[judgement] for reader in each.readers for judgement in JUDGEMENTS]
        shares = ", ".join(f"{reader['defect'] / each.findings:.0%}" for reader in each.readers)
        rows.append((name, each.findings, *counts, each.agreed, shares))
    return table(tuple(head), rows, numbers=range(1, len(head)))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = ()) -> list[str]:
    """A Markdown table, the columns of numbers to the right."""
    right = set(numbers)
    rules = ["---:" if column in right else "---" for column in range(len(head))]
    return [_row(head), _row(rules), *(_row([str(cell).replace("|", "\\|") for cell in row]) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def reproduction(document: Mapping[str, Any], judgements: Sequence[Path]) -> str:
    """The commands that make the findings and the page again, with the options that are not the default's."""
    drawing = [
        f"--{name.replace('_', '-')}={document[name]}"
        for name, usual in asdict(Plan()).items()
        if document[name] != usual
    ]
    rendering = [f"--judgements=benchmarks/{path.name}" for path in judgements if path != JUDGEMENTS_FILE]
    script = ("python", "benchmarks/precision_study.py")
    return f"{shlex.join((*script, 'draw', *drawing))}\n{shlex.join((*script, 'render', *rendering))}"


# The command


PACKAGES_FILE = HERE / "precision_packages.txt"
SAMPLE_FILE = HERE / "precision_sample.json"
JUDGEMENTS_FILE = HERE / "precision_judgements.json"
PAGE_FILE = HERE / "precision.md"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    usual = Plan()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw", help="download, scan, and draw the findings to judge")
    drawing.add_argument("--packages", type=Path, default=PACKAGES_FILE, help="releases, `name==version` on a line")
    drawing.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "bufaudit-precision", help="for releases"
    )
    drawing.add_argument("--seed", type=int, default=usual.seed, help=f"of chance ({usual.seed})")
    drawing.add_argument("--size", type=int, default=usual.size, help=f"findings in all ({usual.size})")
    drawing.add_argument("--at-least", type=int, default=usual.at_least, help=f"findings of a rule ({usual.at_least})")
    drawing.add_argument("--share", type=float, default=usual.share, help=f"most from a package ({usual.share})")
    drawing.add_argument("--jobs", type=int, help="worker processes of a scan")
    drawing.add_argument("--sample", type=Path, default=SAMPLE_FILE, help="where the sample is written")
    rendering = commands.add_parser("render", help="write the page from the sample and its judgements")
    rendering.add_argument("--sample", type=Path, default=SAMPLE_FILE)
    rendering.add_argument("--judgements", type=Path, action="append", help="once, or once for each reader")
    rendering.add_argument("--output", type=Path, default=PAGE_FILE)
    options = parser.parse_args(given)
    if options.command == "render":
        options.judgements = options.judgements or [JUDGEMENTS_FILE]
    elif not (options.size > 0 and options.at_least >= 0 and 0 < options.share <= 1):
        parser.error("--size must be at least 1, --at-least at least 0, and --share above 0 and at most 1")
    return options


def draw_command(options: argparse.Namespace) -> bool:
    """Write the sample; whether it has its size."""
    plan = Plan(options.seed, options.size, options.at_least, options.share)
    releases = read_packages(read(options.packages))
    found: list[Drawn] = []
    for release in releases:
        folder = fetch(release, options.cache)
        findings = drawable(release, scan(folder, options.jobs), folder)
        found += findings
        print(f"{release}: {len(findings)} findings", flush=True)
    document = sample_document(releases, found, plan)
    drawn = len(document["sample"])
    options.sample.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{drawn} of {len(found)} findings in {options.sample}")
    if drawn < plan.size:
        print(f"that is fewer than {plan.size}: more packages are needed, or a larger --share", file=sys.stderr)
    return drawn >= plan.size


def render_command(options: argparse.Namespace) -> bool:
    """Write the page; whether the figures reach their targets."""
    document = json.loads(read(options.sample))
    sample = [Drawn(**each) for each in document["sample"]]
    judgements = read_judgements((json.loads(read(path)) for path in options.judgements), [each.id for each in sample])
    page = rendered(document, judgements, reproduction(document, options.judgements))
    options.output.write_text(page, encoding="utf-8")
    by_confidence = figures(sample, judgements)
    print("\n".join(verdicts(by_confidence)))
    return all(each.precision >= TARGETS[name] for name, each in by_confidence.items())


def read(path: Path) -> str:
    """The text of a file of ours."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CannotRunError(f"{path} cannot be read: {error.strerror}") from None


def main(given: Sequence[str] | None = None) -> int:
    """Run, and give the exit status."""
    options = arguments(given)
    try:
        return 0 if (draw_command if options.command == "draw" else render_command)(options) else 1
    except (CannotRunError, json.JSONDecodeError) as error:
        print(f"precision_study: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
