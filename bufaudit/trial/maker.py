"""A child process that makes checkpoints: `python -m bufaudit.trial.maker REPLIES`.

It builds each model for real, on the CPU, sets every tensor to a sentinel, saves it with `save_pretrained` and writes
down what a loader that loses nothing would give.
"""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bufaudit.declarations import declared_at
from bufaudit.errors import BufauditError
from bufaudit.failures import first_line
from bufaudit.tracing.configs import make_config
from bufaudit.tracing.targets import resolve
from bufaudit.trial.channel import Channel
from bufaudit.trial.comparing import ExpectedValues
from bufaudit.trial.errors import TrialError
from bufaudit.trial.expectations import Expected, write_expectations
from bufaudit.trial.messages import Answer, ExpectedTensor, MakeReply, MakeRequest, Question, Subject, Versions
from bufaudit.trial.models import model_class_of, quiet
from bufaudit.trial.poison import is_poison, poisoned_memory
from bufaudit.trial.sentinels import sentinel
from bufaudit.trial.shrinking import shrunk
from bufaudit.trial.state import NamedTensor, dtype_name, named_state, read_file_keys, read_file_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bufaudit.trial.messages import Construction


#: A model with more elements takes too much time and memory, several processes together.
_MANY = 100_000_000


def answer(question: Question) -> Answer:
    """The models that a user's words stand for."""
    try:
        return Answer(tuple(map(Subject.of, resolve(question.request()))))
    except BufauditError as error:
        return Answer((), str(error))


def make(request: MakeRequest) -> MakeReply:
    """Make the checkpoint of a subject, or take the user's, and write what is expected of a load."""
    try:
        return _make(request)
    except BufauditError as error:
        return MakeReply("", (), (), str(error))
    except Exception as error:
        return MakeReply("", (), (), f"{type(error).__name__}: {first_line(error)}")


def _make(request: MakeRequest) -> MakeReply:
    folder = Path(request.folder)
    folder.mkdir()
    model_class = model_class_of(request.subject.model_class)
    config, notes = _config(request, model_class)
    with poisoned_memory():
        model = _build(model_class, config, seed=0)
    constructions = _constructions(model_class, config, model)
    constructed = {name: value.clone() for name, kind, value in named_state(model) if kind == "non_persistent_buffer"}
    if request.checkpoint is None:
        checkpoint = folder / "checkpoint"
        _set_sentinels(model)
        model.save_pretrained(checkpoint)
        values = _values_of(model, _saved_names(model, checkpoint))
    else:
        checkpoint = Path(request.checkpoint)
        values = _values_in(checkpoint, model_class, model)
    places = declared_at(model)
    tensors = tuple(
        ExpectedTensor(
            name=name,
            kind=kind,
            shape=tuple(tensor.shape),
            dtype=dtype_name(tensor.dtype),
            persisted=name in values,
            construction=constructions.get(name, "fixed"),
            declared_at=places.get(name),
        )
        for name, kind, tensor in named_state(model)
    )
    write_expectations(folder, Expected(tensors, ExpectedValues(values, constructed)))
    return MakeReply(str(checkpoint), tensors, notes)


def _config(request: MakeRequest, model_class: Any) -> tuple[Any, tuple[str, ...]]:
    if request.checkpoint is not None:
        return model_class.config_class.from_pretrained(request.checkpoint), ()
    recipe = request.subject.recipe()
    config = make_config(recipe)
    if not request.shrink:
        return config, ()
    part = "" if recipe.part is None else f"{recipe.part}."
    try:
        small = shrunk(model_class, config, frozenset(key.removeprefix(part) for key in recipe.settings))
    except Exception as error:
        raise TrialError(
            f"its config was not made smaller, since on the meta device it raises {type(error).__name__}: "
            f"{first_line(error)}; change options with --set, or try it as it is with --no-shrink"
        ) from error
    if small.elements > _MANY:
        raise TrialError(
            f"its config was not made small enough: {small.elements:,} elements are left; "
            "change options with --set, or try it as it is with --no-shrink"
        )
    return small.config, small.notes


def _build(model_class: Any, config: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    return model_class(copy.deepcopy(config))


def _constructions(model_class: Any, config: Any, model: torch.nn.Module) -> dict[str, Construction]:
    """How construction gives each non-persistent buffer its value, seen by doing it again.

    Another seed tells what is random. What looks like poison is built once more without it: it was written if it holds
    the same.
    """
    first = {each.name: each.tensor for each in named_state(model) if each.kind == "non_persistent_buffer"}
    if not first:
        return {}
    with poisoned_memory():
        again = _tensors_of(_build(model_class, config, seed=1))
    suspects = {name for name, tensor in first.items() if is_poison(tensor)}
    clean: Mapping[str, torch.Tensor] = {}
    if suspects:
        with poisoned_memory(fill=False):
            clean = _tensors_of(_build(model_class, config, seed=0))
    outcome: dict[str, Construction] = {}
    for name, tensor in first.items():
        if name in suspects and not _equal(tensor, clean[name]):
            outcome[name] = "unwritten"
        else:
            outcome[name] = "fixed" if _equal(tensor, again[name]) else "random"
    return outcome


def _tensors_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {each.name: each.tensor for each in named_state(model)}


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def _set_sentinels(model: torch.nn.Module) -> None:
    """Give every parameter and persistent buffer its sentinel; what is tied stays tied."""
    done: set[int] = set()
    with torch.no_grad():
        for name, kind, tensor in named_state(model):
            if kind == "non_persistent_buffer" or id(tensor) in done:
                continue
            done.add(id(tensor))
            value = sentinel(name, tensor)
            try:
                tensor.copy_(value)
            except RuntimeError:
                # Elements of an expanded tensor share memory.
                tensor.data = value


def _saved_names(model: torch.nn.Module, checkpoint: Path) -> set[str]:
    """The names whose values the checkpoint has, be it under another name.

    A state dict's entry that is not in the files is left out because the model says so, or it is tied to another, or
    weights are converted on saving; then some file key is no name of the model.
    """
    state = model.state_dict()
    written = read_file_keys(checkpoint)
    converted = bool(written - set(state))
    ignored = [re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_save", None) or ()]
    saved = {name for name in state if name in written}
    if converted:
        saved |= {name for name in state if not any(pattern.search(name) for pattern in ignored)}
    return saved


def _values_of(model: torch.nn.Module, saved: set[str]) -> dict[str, torch.Tensor]:
    """The values of the checkpoint by the names of the model, under every name of a tied tensor."""
    groups: dict[tuple[int, tuple[int, ...], torch.dtype], list[NamedTensor]] = {}
    for each in named_state(model):
        if each.kind != "non_persistent_buffer":
            place = each.tensor.data_ptr() or id(each.tensor)
            groups.setdefault((place, tuple(each.tensor.shape), each.tensor.dtype), []).append(each)
    return {
        each.name: each.tensor
        for group in groups.values()
        if any(each.name in saved for each in group)
        for each in group
    }


def _values_in(checkpoint: Path, model_class: Any, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The values of a user's checkpoint by the names of the model.

    What a file has under the model's own name and shape is taken from there. The rest, which is renamed, fused or split
    on loading, is what a load in one process without DeepSpeed gives, unless that calls it missing.
    """
    loaded, info = model_class.from_pretrained(checkpoint, output_loading_info=True)
    ignored = [re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_load_missing", None) or ()]
    missing = set(info["missing_keys"])
    values = {
        name: tensor
        for name, kind, tensor in named_state(loaded)
        if kind != "non_persistent_buffer"
        and name not in missing
        and not any(pattern.search(name) for pattern in ignored)
    }
    built = {each.name: each.tensor for each in named_state(model) if each.kind != "non_persistent_buffer"}
    stored = read_file_values(checkpoint, set(built))
    values |= {name: value for name, value in stored.items() if value.shape == built[name].shape}
    return {name: value.to(built[name].dtype) for name, value in values.items()}


def main(arguments: Sequence[str]) -> None:
    """Say what was imported, then make what is asked for."""
    channel = Channel(requests=0, replies=int(arguments[0]))
    torch.set_num_threads(1)
    with quiet():
        import transformers

        channel.send(Versions(torch.__version__, transformers.__version__))
        channel.serve({Question: answer, MakeRequest: make})


if __name__ == "__main__":
    main(sys.argv[1:])
