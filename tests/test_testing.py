"""A failing test of a model's repository must say what is lost, on which rank, and where to look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bufaudit.testing import NotImportableError, WrongConfigError, assert_state_kept, check_report
from tests.report.samples import BIAS, MEAN, MODEL, PLAIN, RAISED, WEIGHTS, ZERO3

if TYPE_CHECKING:
    from bufaudit.outcomes import PathReport

torch = pytest.importorskip("torch")


class Tiny(torch.nn.Module):  # type: ignore[misc,name-defined]
    """A model with a parameter and a persistent buffer."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size))
        self.register_buffer("scale", torch.ones(size))


def load_all(model: Any, state_dict: Any) -> None:
    """Loses nothing."""
    model.load_state_dict(state_dict)


def load_parameters(model: Any, state_dict: Any) -> None:
    """Loses the buffer."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state_dict[name])


class TestCheckReport:
    """What passes, what fails, and what the failure says."""

    def check(self, *paths: PathReport, **changes: Any) -> str:
        with pytest.raises(AssertionError) as caught:
            check_report(replace(MODEL, paths=paths, **changes))
        return str(caught.value)

    def test_kept_state_passes(self) -> None:
        check_report(replace(MODEL, paths=(PLAIN,)))

    def test_failure_names_tensors_ranks_and_lines(self) -> None:
        message = self.check(ZERO3)
        assert message.startswith("TinyModel does not keep its state\n")
        for part in (
            "diverged layers.{0…3,5}.gate.bias",
            "package/model.py:131",
            "kept on rank 0, dropped on rank 1",
            "package/loading.py:312: the loader",
            "dropped norm.mean",
        ):
            assert part in message

    def test_losses_of_the_reference_loader_count_where_they_are_asked_for(self) -> None:
        assert "dropped norm.mean" in self.check(replace(ZERO3, path="params-only", tensors=(MEAN,)))

    def test_exception_fails(self) -> None:
        assert "raised ValueError: no fan in\n  --> torch/nn/init.py:345" in self.check(RAISED)

    def test_what_could_not_be_followed_fails(self) -> None:
        """A test that passes because nothing was looked at would be worse than none."""
        message = self.check(replace(ZERO3, tensors=(), untraced="an unknown release"))
        assert message.startswith("TinyModel could not be followed\n")
        assert "an unknown release" in message
        assert "no hidden_size" in self.check(error="no hidden_size")

    def test_single_tensors_that_could_not_be_followed_are_a_warning(self) -> None:
        untraced = replace(BIAS, ranks=("untraced", "untraced"))
        with pytest.warns(UserWarning, match="1 tensors of TinyModel could not be followed"):
            check_report(replace(MODEL, paths=(replace(ZERO3, tensors=(*WEIGHTS, untraced)),)))


class TestAssertStateKept:
    """The whole way, with loaders that are traced."""

    def test_loader_that_keeps_everything(self) -> None:
        assert_state_kept(Tiny, path=load_all)
        assert_state_kept(Tiny, {"size": 3}, path=f"{__name__}:load_all", world_size=1)

    def test_loader_that_drops_a_buffer(self) -> None:
        with pytest.raises(AssertionError) as caught:
            assert_state_kept(Tiny, {"size": 3}, path=load_parameters)
        message = str(caught.value)
        assert "dropped scale\n" in message
        assert "test_testing.py:" in message
        assert "1 persistent buffer of float32, shape (3); dropped on ranks 0…1" in message
        assert "weight" not in message

    def test_reference_loader(self) -> None:
        with pytest.raises(AssertionError, match="dropped scale"):
            assert_state_kept(Tiny, path="params-only")

    def test_model_of_transformers(self) -> None:
        transformers = pytest.importorskip("transformers")
        config = transformers.LlamaConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=8
        )
        assert_state_kept(transformers.LlamaForCausalLM, config, path="from_pretrained")

    def test_model_that_cannot_be_built(self) -> None:
        with pytest.raises(AssertionError, match="Tiny could not be followed"):
            assert_state_kept(Tiny, {"size": "large"}, path=load_all)

    def test_class_that_has_no_place_in_a_module(self) -> None:
        class Local(Tiny):
            pass

        with pytest.raises(NotImportableError, match="define it at the top level"):
            assert_state_kept(Local, path=load_all)

    def test_config_of_no_known_kind(self) -> None:
        with pytest.raises(WrongConfigError, match="int is no config of transformers"):
            assert_state_kept(Tiny, 3, path=load_all)
