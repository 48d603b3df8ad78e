"""Whatever a file holds, a scan of it ends soon, without an exception, and keeps the laws."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import fuzz_scan
import mutations
import pytest
from fuzz_scan import BrokenLawError, CannotRunError, Seen, TooSlowError, Trouble
from giants import giants
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import BYTE_STEPS, TEXT_STEPS, Recipe, made, parsed, random_recipe

from bufaudit.source.extract import extract

try:
    SOURCES = fuzz_scan.sources()
except CannotRunError as error:
    pytest.skip(str(error), allow_module_level=True)
SMALL = giants(0.1)

seeds = st.integers(0, 2**16)
steps = st.lists(st.tuples(st.sampled_from([*TEXT_STEPS, *BYTE_STEPS]), seeds), max_size=5).map(tuple)
recipes = st.builds(Recipe, st.integers(0, len(SOURCES.texts) - 1), seeds, steps)


@given(recipes)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_file_goes_through_everything(recipe: Recipe) -> None:
    with TemporaryDirectory() as folder, fuzz_scan.time_limit(fuzz_scan.LIMIT):
        fuzz_scan.examine([made(recipe, SOURCES)], Path(folder))


def test_mutated_modules_that_import_each_other_go_through_everything() -> None:
    seen = [fuzz_scan.run_batch(0, start, fuzz_scan.BATCH) for start in range(0, 100, fuzz_scan.BATCH)]
    assert [each for each in seen if not isinstance(each, Seen)] == []


@pytest.mark.parametrize("name", SMALL)
def test_a_giant_takes_no_more_time_than_its_length_asks_for(name: str) -> None:
    """A tenth of what `fuzz_scan.py` takes; a square of it would be over the limit still."""
    assert isinstance(
        fuzz_scan.outcome(0, [SMALL[name].encode()], fuzz_scan.LIMIT, fuzz_scan.scan_and_report), Seen | tuple
    )


def test_most_inputs_parse_and_are_different_and_some_have_facts() -> None:
    inputs = [made(random_recipe(Random(seed), SOURCES), SOURCES) for seed in range(200)]
    texts = [data.decode("utf-8", "replace") for data in inputs]
    assert len(set(texts)) > 190
    assert sum(parsed(text) is not None for text in texts) > 100
    assert sum(bool(extract(text).functions) for text in texts) > 20


def test_a_recipe_always_makes_the_same_input() -> None:
    recipe = random_recipe(Random(3), SOURCES)
    assert recipe == random_recipe(Random(3), SOURCES)
    assert made(recipe, SOURCES) == made(recipe, mutations.Sources(list(SOURCES.texts), SOURCES.words))


@pytest.mark.parametrize("name", mutations.GENTLE)
def test_gentle_steps_mostly_leave_what_parses(name: str) -> None:
    pieces = [SOURCES.piece(index, index) for index in range(0, len(SOURCES.texts), len(SOURCES.texts) // 20)]
    whole = [piece for piece in pieces if parsed(piece) is not None]
    changed = [TEXT_STEPS[name](piece, Random(1), SOURCES) for piece in whole]
    assert sum(parsed(text) is not None for text in changed) >= 0.6 * len(whole)


# What the fuzzer itself notices


def test_an_exception_is_trouble_that_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(text: str, **_: object) -> object:
        if "broken" in text:
            raise KeyError
        return extract(text)

    monkeypatch.setattr(fuzz_scan, "extract", fails)
    found = fuzz_scan.outcome(7, [b"x = 1\ny = broken(2)\nz = 3\n"])
    assert isinstance(found, Trouble)
    assert found.what.startswith("KeyError at ")
    assert fuzz_scan.smaller(found).inputs == (b"broken",)


def test_time_that_is_up_is_trouble() -> None:
    def hangs(*_: object) -> Seen:
        while True:
            pass

    found = fuzz_scan.outcome(0, [b""], 0.05, hangs)
    assert isinstance(found, Trouble)
    assert found.what == "TooSlowError: more than 0.05 s"
    assert not issubclass(TooSlowError, Exception), "a scan would catch it"


def test_a_mistake_that_a_scan_catches_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> object:
        raise KeyError

    monkeypatch.setattr("bufaudit.source.reading.facts_of", fails)
    with pytest.raises(BrokenLawError, match="a mistake of ours"):
        fuzz_scan.scan_and_report([b"x = 1\n"], tmp_path)


def test_a_gate_that_changes_facts_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_scan, "extract", lambda text, gated=True: extract(text if gated else ""))
    with pytest.raises(BrokenLawError, match="gated facts"):
        fuzz_scan.lawful_facts(b"def f(m):\n    return m.parameters()\n")
