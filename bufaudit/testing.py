"""For a model repository's own tests: `assert_state_kept`. Needs what `bufaudit[probe]` installs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bufaudit.errors import BufauditError
from bufaudit.outcomes import ProbeResult
from bufaudit.report import render_probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from bufaudit.outcomes import ModelReport
    from bufaudit.tracing.targets import Target

_WIDTH = 120


class NotImportableError(BufauditError):
    """A class that cannot be found by its name."""

    def __init__(self, kind: type) -> None:
        super().__init__(f"{kind.__qualname__} cannot be imported from {kind.__module__}; define it at the top level")


class WrongConfigError(BufauditError):
    """A config that is none of transformers, and no mapping either."""

    def __init__(self, config: object) -> None:
        super().__init__(
            f"{type(config).__qualname__} is no config of transformers; for a plain module, give a mapping of the "
            "arguments that its constructor needs"
        )


def assert_state_kept(
    model_class: type, config: Any = None, path: str | Callable[[Any, Any], object] = "zero3", world_size: int = 2
) -> None:
    """Fail unless a load keeps every parameter and buffer of a model, as `bufaudit probe` sees it.

    `model_class` is a model of transformers and `config` its config, None for the default one; or it is another
    `torch.nn.Module`, and `config` a mapping of the arguments that its constructor needs. `path` is a load path by its
    name, `module:function`, or a function `(model, state_dict) -> None`. Neither weights nor a GPU are needed. Where
    single tensors cannot be followed, it warns.

    Raises `AssertionError`, with the lost tensors, their outcome on each rank and the lines that register them, also
    where the load raises, or cannot be followed, and where the model cannot be built.
    """
    from bufaudit.tracing.paths import of_function
    from bufaudit.tracing.trace import trace_model

    load_path = path if isinstance(path, str) else of_function(path)
    check_report(trace_model(_target(model_class, config), (load_path,), world_size))


def check_report(report: ModelReport) -> None:
    """Raise `AssertionError` where a path loses something, raises or could not be followed, whichever path it is."""
    followed = report.error is None and all(path.untraced is None for path in report.paths)
    kept = all(path.error is None and not any(tensor.lost for tensor in path.tensors) for path in report.paths)
    if not (followed and kept):
        text = render_probe(ProbeResult((report,)), "text", width=_WIDTH).decode()
        what = "does not keep its state" if followed else "could not be followed"
        raise AssertionError(f"{report.class_name} {what}\n\n{text}")
    untraced = sum(tensor.verdict == "untraced" for path in report.paths for tensor in path.tensors)
    if untraced:
        warnings.warn(f"{untraced} tensors of {report.class_name} could not be followed", stacklevel=3)


def _target(model_class: Any, config: Any) -> Target:
    from bufaudit.tracing.configs import ConfigRecipe
    from bufaudit.tracing.targets import Target

    name = _name(model_class)
    default = getattr(model_class, "config_class", None)
    if config is None and default is not None:
        return Target(model_class.__name__, name, ConfigRecipe(_name(default)))
    if config is None or isinstance(config, Mapping):
        return Target(model_class.__name__, name, arguments=dict(config or {}))
    if not hasattr(config, "to_dict"):
        raise WrongConfigError(config)
    return Target(model_class.__name__, name, ConfigRecipe(_name(type(config)), config.to_dict()))


def _name(kind: type) -> str:
    """A class as `module:Class`."""
    from bufaudit.tracing.configs import load_class, qualified

    name = qualified(kind)
    try:
        same = load_class(name) is kind
    except (ImportError, AttributeError):
        same = False
    if not same:
        raise NotImportableError(kind)
    return name
