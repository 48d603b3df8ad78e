"""The precision study: a sample that anybody can draw again, and a page that says what the readers said."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import precision_study
import pytest
from hypothesis import given
from hypothesis import strategies as st
from precision_study import CannotRunError, Drawn, Judgement, Plan, Release, draw, read_judgements, read_packages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bufaudit.results import Confidence

FAULTY = "x = 0\ny = 1  # bufaudit: ignore[BUF101]\nz = 2\n"


def finding(package: str, number: int, rule: str = "BUF101", confidence: Confidence = "high") -> Drawn:
    where = f"{package}-1.0/model.py:{number}:1 {rule}"
    return Drawn(where, package, "1.0", "model.py", number, rule, confidence, "a | b", "Model.load")


def many(package: str, count: int, rule: str = "BUF101") -> list[Drawn]:
    return [finding(package, number, rule) for number in range(1, count + 1)]


def document(sample: Sequence[Drawn]) -> dict[str, object]:
    releases = [Release(package, "1.0") for package in sorted({each.package for each in sample})]
    return precision_study.sample_document(releases, sample, Plan(share=1.0))


def said(*judgements: str) -> list[dict[str, str]]:
    return [{"judgement": judgement, "sentence": f"It is {judgement}."} for judgement in judgements]


findings = st.lists(
    st.builds(
        finding,
        st.sampled_from(["a", "b", "c", "d"]),
        st.integers(1, 60),
        st.sampled_from(["BUF101", "BUF201", "BUF301"]),
    ),
    unique_by=lambda each: each.id,
    max_size=120,
)
plans = st.builds(
    Plan, st.integers(0, 9), st.integers(12, 40), st.integers(0, 4), st.sampled_from([0.1, 0.25, 0.5, 1.0])
)


@given(findings, plans)
def test_a_sample_has_the_minimum_of_each_rule_and_keeps_to_its_limits(found: list[Drawn], plan: Plan) -> None:
    sample = draw(found, plan)
    of_rule, drawn = Counter(each.rule for each in found), Counter(each.rule for each in sample)
    assert set(sample) <= set(found)
    assert len({each.id for each in sample}) == len(sample) <= plan.size
    assert all(drawn[rule] >= min(plan.at_least, count) for rule, count in of_rule.items())
    # The minimum of each rule may all lie in one package, and is taken from it then.
    most = int(plan.share * plan.size)
    assert all(
        count <= max(most, 1) + plan.at_least * len(of_rule)
        for count in Counter(each.package for each in sample).values()
    )


@given(findings, plans, st.randoms())
def test_a_sample_does_not_depend_on_the_order_of_findings(found: list[Drawn], plan: Plan, random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert draw(found, plan) == draw(shuffled, plan)


def test_a_large_package_does_not_fill_the_sample() -> None:
    found = many("large", 500) + [each for name in "abcdefgh" for each in many(name, 30)]
    counts = Counter(each.package for each in draw(found, Plan()))
    assert counts.total() == 150
    assert max(counts.values()) == 22


def test_a_package_at_its_limit_still_gives_the_minimum_of_a_rule_that_fires_nowhere_else() -> None:
    found = many("large", 100) + many("small", 10) + many("large", 3, "BUF301")
    sample = draw(found, Plan(size=20, at_least=5, share=0.1))
    assert Counter(each.rule for each in sample)["BUF301"] == 3


def test_a_limit_that_leaves_too_few_makes_the_sample_smaller() -> None:
    assert len(draw(many("a", 100) + many("b", 100), Plan(size=40, at_least=0, share=0.25))) == 20


def test_another_seed_draws_others() -> None:
    found = [each for name in "abcdefgh" for each in many(name, 60)]
    assert draw(found, Plan(seed=1)) != draw(found, Plan(seed=2))


def test_a_release_more_does_not_shuffle_the_others() -> None:
    """Judgements of what stays in the sample stay good."""
    found = [each for name in "abcdefgh" for each in many(name, 60)]
    before = draw(found, Plan())
    after = draw(found + many("z", 60), Plan())
    assert [each for each in after if each.package != "z" and each not in before] == []


def test_more_rules_than_the_sample_has_room_for_is_said() -> None:
    with pytest.raises(CannotRunError, match="more than the sample may have"):
        draw(many("a", 5) + many("b", 5, "BUF201"), Plan(size=9))


def test_packages_are_pinned() -> None:
    text = "# The list.\nTorch_Thing==1.0.post1  # why\n\nother == 2!3\n"
    assert read_packages(text) == [Release("torch-thing", "1.0.post1"), Release("other", "2!3")]
    with pytest.raises(CannotRunError, match=r"line 2 .*: other>=2"):
        read_packages("a==1\nother>=2\n")
    with pytest.raises(CannotRunError, match="named twice: a-b"):
        read_packages("a.b==1\nA-b==2\n")


def test_the_shipped_list_is_pinned() -> None:
    assert read_packages(precision_study.PACKAGES_FILE.read_text("utf-8"))


def test_only_python_files_are_unpacked_and_none_outside_the_folder(tmp_path: Path) -> None:
    wheel, source = tmp_path / "a.whl", tmp_path / "a.tar.gz"
    names = ("a-1/a/model.py", "a-1/a/weights.bin", "a-1/setup.py")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in (*names, "../outside.py"):
            archive.writestr(name, "")
    with tarfile.open(source, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    precision_study.unpack(wheel, tmp_path / "wheel")
    precision_study.unpack(source, tmp_path / "source")
    assert not (tmp_path / "outside.py").exists()
    kept = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.py"))
    assert kept == [
        "source/a/model.py", "source/setup.py", "wheel/a-1/a/model.py", "wheel/a-1/setup.py", "wheel/outside.py",
    ]  # fmt: skip


def test_a_cached_release_is_scanned_and_drawn_with_its_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "packages.txt").write_text("faulty==1.0\n", "utf-8")
    (tmp_path / "cache/faulty-1.0").mkdir(parents=True)
    (tmp_path / "cache/faulty-1.0/model.py").write_text(FAULTY, "utf-8")
    drawing = ["draw", f"--packages={tmp_path / 'packages.txt'}", f"--cache={tmp_path / 'cache'}", "--share=1"]
    assert precision_study.main([*drawing, "--size=1", "--at-least=1", f"--sample={tmp_path / 'one.json'}"]) == 0
    assert precision_study.main([*drawing, "--size=2", f"--sample={tmp_path / 'two.json'}"]) == 1
    assert "fewer than 2" in capsys.readouterr().err
    (drawn,) = json.loads((tmp_path / "one.json").read_text("utf-8"))["sample"]
    assert drawn["id"] == "faulty-1.0/model.py:2:8 BUF001"
    assert (drawn["package"], drawn["version"], drawn["path"]) == ("faulty", "1.0", "model.py")
    assert [line[7:] for line in drawn["source"]] == [f" {line}".rstrip() for line in (*FAULTY.splitlines(), "")]
    assert [line[0] for line in drawn["source"]].index(">") == 1


def test_judgements_come_from_one_file_or_from_one_of_each_reader() -> None:
    together = read_judgements([{"x": said("defect", "false")}], ["x"])
    assert together == {"x": (Judgement("defect", "It is defect."), Judgement("false", "It is false."))}
    assert read_judgements([{"x": said("defect")}, {"x": said("false")}], ["x"]) == together


@pytest.mark.parametrize(
    ("given_", "complaint"),
    [
        ({"x": said("defect")}, "do not have two judgements, the first is x"),
        ({"x": said("defect", "false", "false")}, "do not have two judgements"),
        ({"x": said("defect", "perhaps")}, "must be one of defect, arguable, false"),
        ({"x": [{"judgement": "defect", "sentence": " "}] * 2}, "with a sentence"),
        ({"x": said("defect", "defect"), "y": said("defect", "defect")}, "not in the sample: y"),
    ],
)
def test_a_judgement_that_is_missing_or_wrong_is_said(given_: dict[str, list[dict[str, str]]], complaint: str) -> None:
    with pytest.raises(CannotRunError, match=complaint):
        read_judgements([given_], ["x"])


def test_the_page_counts_each_reader_and_goes_by_the_lower() -> None:
    sample = [finding("a", 1), finding("a", 2), finding("b", 1, "BUF201", "medium"), finding("b", 2, "BUF201")]
    judged = [said("defect", "defect"), said("defect", "false"), said("arguable", "defect"), said("defect", "defect")]
    judgements = read_judgements([dict(zip((each.id for each in sample), judged, strict=True))], [s.id for s in sample])
    page = precision_study.rendered(document(sample), judgements, "first command\nsecond command")
    lines = page.splitlines()
    assert "| high | 3 | 3 | 0 | 0 | 2 | 0 | 1 | 2 | 100%, 67% |" in lines
    assert "| medium | 1 | 0 | 1 | 0 | 1 | 0 | 0 | 0 | 0%, 100% |" in lines
    assert "| BUF201 | 2 | 1 | 1 | 0 | 2 | 0 | 0 | 1 | 50%, 100% |" in lines
    assert "- high: 66.7% are defects by the lower reader, target 95%: not reached" in lines
    assert "The readers agree on 2 of 4 findings." in lines
    assert "| a | 1.0 | `model.py:1` | BUF101 | high | defect | defect | It is defect. |" in lines
    assert "| a | 1.0 | `model.py:2` | BUF101 | high | defect | false | It is defect. / It is false. |" in lines
    assert "| b | 1.0 | 1 | 1 | 2 |" in lines
    assert "    first command" in lines


def test_a_cell_breaks_no_table() -> None:
    sample = [replace(finding("a", 1), path="a|b.py")]
    judgements = {sample[0].id: (Judgement("defect", "x | y"),) * 2}
    page = precision_study.rendered(document(sample), judgements, "")
    assert r"| `a\|b.py:1` | BUF101 | high | defect | defect | x \| y |" in page


def test_rendering_says_whether_the_targets_are_reached(tmp_path: Path) -> None:
    sample = [finding("a", number) for number in range(1, 21)]
    (tmp_path / "sample.json").write_text(json.dumps(document(sample)), "utf-8")
    rendering = ["render", f"--sample={tmp_path / 'sample.json'}", f"--output={tmp_path / 'page.md'}"]

    def status(false: int) -> int:
        given_ = {each.id: said("false" if each.line <= false else "defect") for each in sample}
        (tmp_path / "judged.json").write_text(json.dumps(given_), "utf-8")
        return precision_study.main([*rendering, *[f"--judgements={tmp_path / 'judged.json'}"] * 2])

    assert status(false=1) == 0
    first = (tmp_path / "page.md").read_bytes()
    assert status(false=2) == 1
    assert status(false=1) == 0
    assert (tmp_path / "page.md").read_bytes() == first, "the same judgements give the same page"
    assert precision_study.main([*rendering, f"--judgements={tmp_path / 'none.json'}"]) == 2


def test_the_commands_of_the_page_have_the_options_that_were_given() -> None:
    usual = asdict(Plan())
    assert precision_study.reproduction(usual, [precision_study.JUDGEMENTS_FILE]) == (
        "python benchmarks/precision_study.py draw\npython benchmarks/precision_study.py render"
    )
    judgements = [precision_study.HERE / "one.json", precision_study.HERE / "two.json"]
    assert precision_study.reproduction(usual | {"seed": 7, "at_least": 3}, judgements) == (
        "python benchmarks/precision_study.py draw --seed=7 --at-least=3\n"
        "python benchmarks/precision_study.py render --judgements=benchmarks/one.json --judgements=benchmarks/two.json"
    )
