"""`bufaudit.scan` and its siblings as a Python program uses them."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_type_hints

import pytest

import bufaudit

EXAMPLE = Path(__file__).parents[1] / "examples" / "leaky_model"

#: BUF302 in line 2, of medium confidence.
AVERAGE = """\
def update_ema(self, tau):
    polyak_update(self.online.parameters(), self.target.parameters(), tau)
    self.target.eval()
"""
#: BUF201 in line 3, of medium confidence.
SAVE = """\
def save(model, path):
    state = {"step": model.state_dict()["step"]}
    for name, parameter in model.named_parameters():
        state[name] = parameter
    torch.save(state, path)
"""
CLIP = """\
from torch import nn


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        self.bound = nn.Buffer(torch.zeros(2))
"""
PLAIN = """\
from torch import nn


class Clip(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
"""
#: An average of two `Clip`s, from wherever `import` says.
TRAINING = """\
{import_line}


def train(decay):
    model = Clip()
    ema = Clip()
    for ema_param, param in zip(ema.parameters(), model.parameters()):
        ema_param.lerp_(param, 1.0 - decay)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a BUF302 and a BUF201; the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.bufaudit]\ncache = false\n")
    (tmp_path / "average.py").write_text(AVERAGE)
    (tmp_path / "save.py").write_text(SAVE)
    return tmp_path


def codes(result: bufaudit.ScanResult) -> list[str]:
    return [finding.code for finding in result.findings]


class TestScan:
    def test_the_result(self, project: Path) -> None:
        result = bufaudit.scan()
        assert isinstance(result, bufaudit.ScanResult)
        assert (result.files, result.suppressed, result.baselined, result.warnings) == (2, 0, 0, ())
        assert result.by_code == {"BUF201": 1, "BUF302": 1}

    def test_a_finding(self, project: Path) -> None:
        finding = bufaudit.scan().findings[0]
        assert isinstance(finding, bufaudit.Finding)
        assert (finding.code, finding.name, finding.confidence) == ("BUF302", "params-only-average", "medium")
        assert (finding.path, finding.line, finding.column) == ("average.py", 2, 5)
        assert (finding.end_line, finding.end_column) == (2, 75)
        assert (finding.symbol, finding.excerpt) == ("update_ema", AVERAGE.splitlines()[1])
        assert len(finding.fingerprint) == 32

    def test_results_cannot_be_changed(self, project: Path) -> None:
        result = bufaudit.scan()
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.files = 3  # type: ignore[misc]
        assert isinstance(result.findings, tuple)

    @pytest.mark.parametrize("kind", [str, Path])
    def test_paths_of_any_kind(self, project: Path, kind: type) -> None:
        assert codes(bufaudit.scan([kind("average.py")])) == ["BUF302"]
        assert codes(bufaudit.scan((kind(project), kind("save.py")))) == ["BUF302", "BUF201"]

    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            ({"select": ["BUF201"]}, ["BUF201"]),
            ({"select": ("params-only-save",)}, ["BUF201"]),
            ({"ignore": ["BUF2"]}, ["BUF302"]),
            ({"min_confidence": "high"}, []),
            ({"exclude": ["save.py"]}, ["BUF302"]),
            ({"per_file_ignores": {"a*.py": ["ALL"]}}, ["BUF201"]),
            ({"jobs": 2, "cache": False}, ["BUF302", "BUF201"]),
        ],
    )
    def test_overrides(self, project: Path, overrides: dict[str, object], expected: list[str]) -> None:
        assert codes(bufaudit.scan(**overrides)) == expected  # type: ignore[arg-type]

    def test_given_settings_take_the_place_of_those_on_disk(self, project: Path) -> None:
        (project / "pyproject.toml").write_text('[tool.bufaudit]\nselect = ["BUF101"]\n')
        settings = bufaudit.Settings(project, select=("BUF201",), cache=False)
        assert codes(bufaudit.scan()) == []
        assert codes(bufaudit.scan(settings=settings)) == ["BUF201"]
        assert codes(bufaudit.scan(settings=settings, select=["BUF302"])) == ["BUF302"]

    def test_loaded_settings_can_be_given_back(self, project: Path) -> None:
        assert codes(bufaudit.scan(settings=bufaudit.load_settings(project))) == ["BUF302", "BUF201"]

    def test_content_in_place_of_a_file(self, project: Path) -> None:
        result = bufaudit.scan(stdin=("average.py", SAVE.encode()))
        assert [(finding.path, finding.code) for finding in result.findings] == [("average.py", "BUF201")]
        assert result.findings[0].excerpt == SAVE.splitlines()[2]

    def test_progress_is_told(self, project: Path) -> None:
        told: list[tuple[int, int]] = []
        bufaudit.scan(progress=lambda done, total: told.append((done, total)))
        assert told == [(1, 2), (2, 2)]

    def test_nothing_is_printed_and_nothing_left_behind(self, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
        before = set(sys.modules)
        files = sorted(project.rglob("*"))
        bufaudit.scan()
        assert capfd.readouterr() == ("", "")
        assert sorted(project.rglob("*")) == files
        assert {"average", "save"} & (set(sys.modules) - before) == set()

    def test_the_order_is_that_of_places(self, project: Path) -> None:
        (project / "average.py").write_text(AVERAGE + "\n\n" + SAVE + "\n\n" + AVERAGE)
        places = [(finding.path, finding.line) for finding in bufaudit.scan(["save.py", "average.py"]).findings]
        assert places == [("average.py", 2), ("average.py", 8), ("average.py", 14), ("save.py", 3)]


class TestErrors:
    """Every one is a `BufauditError` whose text tells what to do."""

    @pytest.mark.parametrize(
        ("paths", "overrides", "said"),
        [
            (["avergae.py"], {}, "did you mean average.py?"),
            ([], {}, "no path at all"),
            (["."], {"selct": ["BUF101"]}, "did you mean select?"),
            (["."], {"select": ["BUF1O1"]}, "did you mean BUF101?"),
            (["."], {"select": "BUF101"}, "expected a list"),
            (["."], {"min_confidence": "hihg"}, 'did you mean "high"?'),
            (["."], {"jobs": 0}, "at least 1"),
            (["."], {"baseline": "missing.json"}, "missing.json"),
            (["."], {"select": ["BUF101"], "ignore": ["BUF101"]}, "no rule"),
            (["."], {"changed_only": True}, "git work tree"),
        ],
    )
    def test_scan(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], overrides: dict[str, object], said: str
    ) -> None:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
        with pytest.raises(bufaudit.BufauditError) as raised:
            bufaudit.scan(paths, **overrides)  # type: ignore[arg-type]
        assert said in str(raised.value)

    def test_a_folder_without_python(self, project: Path) -> None:
        (project / "docs").mkdir()
        for function in (bufaudit.scan, bufaudit.inventory):
            with pytest.raises(bufaudit.BufauditError, match="no Python file under docs"):
                function(["docs"])

    def test_inventory(self, project: Path) -> None:
        with pytest.raises(bufaudit.BufauditError, match=r"did you mean average\.py"):
            bufaudit.inventory(["avergae.py"])


class TestContext:
    """A file is judged by what the rest of the project says, named or not."""

    @pytest.mark.parametrize(
        ("where", "import_line"),
        [
            ("layers.py", "from layers import Clip"),
            ("pkg/layers.py", "from pkg.layers import Clip"),
            ("src/pkg/layers.py", "from pkg.layers import Clip"),
            ("pkg/layers.py", "from pkg import layers\nClip = layers.Clip"),
        ],
    )
    def test_a_buffer_in_another_module_decides(self, project: Path, where: str, import_line: str) -> None:
        path = project / where
        path.parent.mkdir(parents=True, exist_ok=True)
        training = project / "training.py"
        training.write_text(TRAINING.format(import_line=import_line))

        path.write_text(CLIP)
        (finding,) = bufaudit.scan([training]).findings
        assert (finding.code, finding.confidence) == ("BUF302", "high")
        assert [(each.path, each.line) for each in finding.related] == [(where, 7)]

        path.write_text(PLAIN)
        assert bufaudit.scan([training]).findings == ()

    def test_a_relative_import_and_a_base_class(self, project: Path) -> None:
        package = project / "pkg"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "base.py").write_text(CLIP.replace("Clip", "Base"))
        (package / "layers.py").write_text("from .base import Base\n\n\nclass Clip(Base):\n    pass\n")
        (package / "training.py").write_text(TRAINING.format(import_line="from .layers import Clip"))
        (finding,) = bufaudit.scan(["pkg/training.py"]).findings
        assert [each.path for each in finding.related] == ["pkg/base.py"]

    def test_a_changed_context_is_seen_through_the_cache(self, project: Path) -> None:
        (project / "layers.py").write_text(PLAIN)
        (project / "training.py").write_text(TRAINING.format(import_line="from layers import Clip"))
        assert codes(bufaudit.scan(["training.py"], cache=True)) == []
        (project / "layers.py").write_text(CLIP)
        assert codes(bufaudit.scan(["training.py"], cache=True)) == ["BUF302"]


def generated(folder: Path) -> Path:
    """A package of modules that take their classes from one another in a chain, in folders of their own."""
    for number in range(24):
        part = folder / f"part_{number % 4}"
        part.mkdir(parents=True, exist_ok=True)
        (part / "__init__.py").write_text("")
        before = number - 1
        layers = CLIP if number % 6 == 0 else PLAIN if number % 6 == 3 else ""
        if not layers:
            layers = (
                f"from pkg.part_{before % 4}.layers_{before} import Clip as Base\n\n\nclass Clip(Base):\n    pass\n"
            )
        (part / f"layers_{number}.py").write_text(layers)
        line = f"from .layers_{number} import Clip"
        (part / f"training_{number}.py").write_text(TRAINING.format(import_line=line) + "\n\n" + SAVE)
    (folder / "__init__.py").write_text("")
    return folder


class TestPartAndWhole:
    """Scanning one file gives what scanning the whole project gives for that file: hooks scan what is staged."""

    def assert_law(self, folder: Path, expected_findings: int) -> None:
        whole = bufaudit.scan([folder], min_confidence="low", cache=False)
        assert len(whole.findings) >= expected_findings
        by_path = {path: [] for path in {finding.path for finding in whole.findings}}
        for finding in whole.findings:
            by_path[finding.path].append(finding)
        files = sorted(str(path.relative_to(Path.cwd())) for path in folder.rglob("*.py"))
        assert len(files) == whole.files
        for file in files:
            alone = bufaudit.scan([file], min_confidence="low", cache=False).findings
            assert list(alone) == by_path.get(file, []), file

    def test_the_example(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        shutil.copytree(EXAMPLE, tmp_path / "leaky", ignore=shutil.ignore_patterns(".bufaudit_cache", "__pycache__"))
        self.assert_law(tmp_path / "leaky", 10)

    def test_classes_over_many_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "pyproject.toml").write_text("")
        self.assert_law(generated(tmp_path / "pkg"), 36)

    @pytest.mark.parametrize(
        ("package", "below"), [("diffusers", "models"), ("transformers", "integrations"), ("torch", "optim")]
    )
    def test_real_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, below: str) -> None:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            pytest.skip(f"{package} is not installed")
        source = Path(spec.origin).parent / below
        if not source.is_dir():
            pytest.skip(f"this {package} has no {below}")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "pyproject.toml").write_text("")
        target = tmp_path / package / below
        target.mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("")
        for path in sorted(source.glob("*.py"))[:40]:
            shutil.copy(path, target)
        self.assert_law(target, 0)


class TestInventory:
    def test_the_result(self, project: Path) -> None:
        (project / "layers.py").write_text(CLIP)
        (project / "tight.py").write_text("from layers import Clip\n\n\nclass Tight(Clip):\n    pass\n")
        result = bufaudit.inventory()
        assert isinstance(result, bufaudit.InventoryResult)
        assert result.files == 4
        own, inherited = result.registrations
        assert isinstance(own, bufaudit.Registration)
        assert (own.path, own.line, own.module, own.class_name, own.name) == ("layers.py", 7, "layers", "Clip", "bound")
        assert (own.persistent, own.how, own.value, own.inherited_from) == (True, "nn.Buffer", "torch.zeros(2)", None)
        assert (inherited.class_name, inherited.module, inherited.inherited_from) == ("Tight", "tight", "layers.Clip")

    def test_one_file_has_what_it_has_in_the_whole(self, project: Path) -> None:
        package = generated(project / "pkg")
        whole = bufaudit.inventory([package]).registrations
        assert len(whole) == 12
        alone = [each for path in sorted(package.rglob("*.py")) for each in bufaudit.inventory([path]).registrations]
        assert sorted(map(repr, alone)) == sorted(map(repr, whole))


class TestModels:
    """`probe` and `verify`, whose command-line tests say the rest."""

    def test_a_probe_of_a_plain_module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("torch")
        (tmp_path / "api_loaders.py").write_text(
            "def load(model, state_dict):\n    model.load_state_dict(state_dict)\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        result = bufaudit.probe("torch.nn:BatchNorm1d", settings={"num_features": 3}, paths=["api_loaders:load"])
        assert isinstance(result, bufaudit.ProbeResult)
        (path,) = result.models[0].paths
        assert {tensor.name: tensor.verdict for tensor in path.tensors} == dict.fromkeys(
            ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"), "kept"
        )

    def test_a_path_that_cannot_be_tried(self) -> None:
        with pytest.raises(bufaudit.BufauditError, match='no load path "params-only" to try; known are zero3'):
            bufaudit.verify("bert", paths=["params-only"])

    def test_a_folder_that_is_no_checkpoint(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        with pytest.raises(bufaudit.BufauditError, match=r"is no checkpoint: it has no config\.json"):
            bufaudit.verify("bert", paths=["from_pretrained"], checkpoint=tmp_path)


class TestPublicNames:
    def test_all_of_them_are_there(self) -> None:
        for name in bufaudit.__all__:
            assert getattr(bufaudit, name) is not None
        assert dir(bufaudit) == sorted(bufaudit.__all__)

    def test_an_unknown_one_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="scna"):
            bufaudit.scna  # noqa: B018

    def test_the_package_is_typed(self) -> None:
        assert (Path(bufaudit.__file__).parent / "py.typed").exists()
        assert get_type_hints(bufaudit.Finding)["line"] is int
        assert all(function.__doc__ for function in (bufaudit.scan, bufaudit.inventory, bufaudit.load_settings))


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_each_path_has_the_settings_nearest_to_it(order: tuple[str, str], tmp_path: Path) -> None:
    for name in order:
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text("[tool.bufaudit]\n")
        (tmp_path / name / "ema.py").write_text(AVERAGE)
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.bufaudit]\nignore = ["BUF302"]\n')
    result = bufaudit.scan([tmp_path / name for name in order], cache=False)
    assert [Path(finding.path).parent.name for finding in result.findings] == ["b"]
    assert result.files == 2
