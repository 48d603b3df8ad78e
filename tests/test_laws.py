"""A gate, a cache or worker processes make a scan faster and never different."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from libraries import python_files, text_of
from source.snippets import programs

import bufaudit
from bufaudit.codec import from_json, to_json
from bufaudit.source import reading
from bufaudit.source.cache import FactsCache
from bufaudit.source.extract import extract
from bufaudit.source.facts import FileFacts
from bufaudit.source.reading import FactsStore

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARIES = ("transformers", "torch")


def gate_changes(path: str) -> bool:
    """Whether a file's facts differ; one that Python cannot parse may have some by the gate and none without."""
    text = text_of(path)
    whole = FileFacts() if text is None else extract(text, gated=False)
    return text is not None and whole.unreadable is None and extract(text) != whole


def facts_by_store(paths: Sequence[str], jobs: int, cache: Path | None = None) -> list[FileFacts | None]:
    store = FactsStore(FactsCache(cache, "test") if cache else None)
    store.read_all(dict.fromkeys(paths, False), jobs)
    facts = [store.load(path) for path in paths]
    store.save()
    return facts


def findings(paths: Sequence[str], cache: Path | None, jobs: int) -> bufaudit.ScanResult:
    return bufaudit.scan(paths, min_confidence="low", cache=cache is not None, cache_dir=cache, jobs=jobs)


@given(programs)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_gated_facts_are_ungated_facts_of_composed_code(text: str) -> None:
    gated = extract(text)
    assert gated.unreadable is None
    assert gated == extract(text, gated=False)


@given(programs)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_facts_survive_the_cache(text: str) -> None:
    facts = extract(text)
    assert from_json(FileFacts, to_json(facts)) == facts


@pytest.mark.parametrize("library", LIBRARIES)
def test_gated_facts_are_ungated_facts_of_a_sample_of_real_code(library: str) -> None:
    assert [path for path in python_files(library)[7::60] if gate_changes(path)] == []


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_gated_facts_are_ungated_facts_of_all_real_code(library: str) -> None:
    paths = python_files(library)
    with ProcessPoolExecutor(2) as pool:
        changed = list(pool.map(gate_changes, paths, chunksize=20))
    assert [path for path, differs in zip(paths, changed, strict=True) if differs] == []


def test_workers_and_cache_change_no_fact_of_a_sample(tmp_path: Path) -> None:
    paths = python_files("transformers")[::50]
    assert len(paths) >= reading._WORTH_WORKERS, "fewer files are read without workers"
    one = facts_by_store(paths, 1)
    assert any(facts and facts.functions for facts in one)
    assert facts_by_store(paths, 4) == one
    assert facts_by_store(paths, 4, tmp_path) == one
    assert facts_by_store(paths, 1, tmp_path) == one


def test_cached_facts_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, the law above would hold of a cache that is never used."""
    paths = python_files("torch")[::400]
    first = facts_by_store(paths, 1, tmp_path)
    monkeypatch.setattr("bufaudit.source.extract.extract", None)
    assert facts_by_store(paths, 1, tmp_path) == first


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_same_findings_however_a_whole_library_is_scanned(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = [str(Path(python_files(library)[0]).parent)]
    four = findings(folder, tmp_path, 4)
    assert four.findings or library == "torch", "torch itself is clean"
    assert four.files > 1000
    assert findings(folder, tmp_path, 1) == four, "from the cache"
    monkeypatch.setattr("bufaudit.source.extract.extract", lambda text, **_: extract(text, gated=False))
    assert findings(folder, None, 1).findings == four.findings, "ungated, by one process"
