"""A smaller config that builds the same kinds of modules and tensors.

Options are recognised by their names, in the config and in the configs inside it. They are shrunk in moves, all of one
kind together, since options of a model depend on each other. After each move the model is built on the meta device: a
move that raises, or after which a kind of module or tensor is gone, is taken back and a gentler one is tried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from bufaudit.trial.models import build_on_meta
from bufaudit.trial.state import named_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import torch

    Option = tuple[str, ...]
    Overrides = dict[Option, Any]
    #: From all options to those that one move changes.
    Move = Callable[[Mapping[Option, Any]], Overrides]

#: A model with fewer elements is small enough.
_SMALL = 1_500_000

_DEPTH = re.compile(r"(^|_)(layers?|depths?|blocks?|num_block_repeats|stages_repeats)$")
_PER_LAYER_INDEX = re.compile(r"indices|indexes|layer_ids|_at$")
_EXPERTS = re.compile(r"experts$")
_MODEL_WIDTH = re.compile(r"^(hidden_size|hidden_dim|embed_dim|d_model|n_embd)$")
_HEADS = re.compile(r"heads$|^n_head$")
_EXPERT_GROUPS = re.compile(r"^(n|num|n_expert|num_expert)_groups?$")
_EXPERTS_OF_TOKEN = re.compile(r"(^|_)experts_per_tok(en)?$|^moe_top_?k$|^top_?k$|^moe_k$")
_VOCABULARY = re.compile(r"vocab(ulary)?(_size)?$|codebook_size$|^num_embeddings$|bins$")
_TOKEN = re.compile(r"_token_id(s)?$|_token_index$|_id$|^boundary_ids$")
_POSITIONS = re.compile(r"position(s|_embeddings)$|^n_ctx$|^block_size$|^max_(length|seq_len|sequence_length)")
_IMAGE = re.compile(r"^(image|input|img)_(size|resolution)$|^spec_size$")
_WIDTH = re.compile(
    r"size|dim|channels?|width|rank|d_model|d_ff|d_kv|d_inner|^n_embd$|^n_inner$|filters|hidden|ffn|embed|features"
)
_NO_WIDTH = re.compile(
    r"image|patch|kernel|window|chunk|vocab|codebook_size|num_channels|audio_channels|pool|batch|block_size|max_|grid"
    r"|context|layers|heads|tubelet|stride|index|indices|spec_size|temporal|positions|num_embeddings|out_features$"
    r"|input_resolution|num_hidden|ratio|factor|divisor|group|embedding_table"
)


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A config, the number of elements of its model, and sentences on what was done to it."""

    config: Any
    elements: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Anatomy:
    """What must not get lost, the number of elements, and that of tensors without any."""

    kinds: frozenset[tuple[str, ...]]
    elements: int
    empty: int


def shrunk(model_class: Any, config: Any, pinned: frozenset[str] = frozenset()) -> Shrunk:
    """A config for a model of about a million elements, as far as it can be found; options named in `pinned` stay.

    The outcome depends on nothing but the arguments. What building the given config on the meta device raises is not
    caught.
    """
    before = _anatomy(build_on_meta(model_class, config))
    search = _Search(model_class, config, pinned, before)
    for attempts in _MOVES:
        if search.elements <= _SMALL and attempts is not _DEPTHS:
            break
        search.try_together(attempts)
    if search.elements > _SMALL:
        search.try_alone()
    if not search.overrides:
        return Shrunk(config, before.elements)
    names = ", ".join(sorted({".".join(option) for option in search.overrides}))
    note = f"the config was made smaller, from {before.elements:,} elements to {search.elements:,}: {names}"
    return Shrunk(_rebuilt(config, search.overrides), search.elements, (note,))


@dataclass(slots=True)
class _Search:
    """The best overrides so far."""

    model_class: Any
    config: Any
    pinned: frozenset[str]
    wanted: _Anatomy
    overrides: Overrides = field(default_factory=dict)
    elements: int = 0

    def __post_init__(self) -> None:
        self.elements = self.wanted.elements

    def try_together(self, moves: Iterable[Move]) -> None:
        """Make the first move that works in all configs at once; else in each config by itself."""
        moves = tuple(moves)
        if any(self._accept(move(self._options())) for move in moves):
            return
        for prefix in sorted({option[:-1] for option in self._options()}):
            mine = {option: value for option, value in self._options().items() if option[:-1] == prefix}
            any(self._accept(move(mine)) for move in moves)

    def try_alone(self) -> None:
        """Halve options one by one, as long as that makes the model smaller."""
        for option, value in sorted(self._options().items()):
            if not isinstance(value, int) or isinstance(value, bool) or _TOKEN.search(option[-1]):
                continue
            while value >= 16 and self.elements > _SMALL and _heads_fit(self._options(), option, value // 2):
                if not self._accept({option: value // 2}):
                    break
                value //= 2

    def _options(self) -> dict[Option, Any]:
        return {
            option: value
            for option, value in _options_of(_rebuilt(self.config, self.overrides))
            if ".".join(option) not in self.pinned
        }

    def _accept(self, more: Overrides) -> bool:
        """Take overrides over if that makes the model smaller and it still builds, with all kinds of tensors."""
        if not more:
            return False
        overrides = self.overrides | more
        try:
            found = _anatomy(build_on_meta(self.model_class, _rebuilt(self.config, overrides)))
        except Exception:
            return False
        if not found.kinds >= self.wanted.kinds or found.empty > self.wanted.empty or found.elements >= self.elements:
            return False
        self.overrides, self.elements = overrides, found.elements
        return True


def _anatomy(model: torch.nn.Module) -> _Anatomy:
    owners = {name: type(module).__name__ for name, module in model.named_modules(remove_duplicate=False)}
    kinds = set()
    elements = empty = 0
    for name, kind, tensor in named_state(model):
        owner, _, leaf = name.rpartition(".")
        kinds.add((owners[owner], re.sub(r"\d+", "#", leaf), kind))
        elements += tensor.numel()
        empty += tensor.numel() == 0
    return _Anatomy(frozenset(kinds), elements, empty)


def _depth_move(depth: int) -> Move:
    """At most so many layers. What has one entry a layer is cut, indices of layers become the last ones."""

    def move(options: Mapping[Option, Any]) -> Overrides:
        changed: Overrides = {}
        for option, value in options.items():
            if not _DEPTH.search(option[-1]):
                continue
            if _is_int(value) and value > depth:
                changed[option] = depth
                changed |= _per_layer(options, option[:-1], value, depth)
            elif _is_ints(value) and max(value) > depth and not _PER_LAYER_INDEX.search(option[-1]):
                changed[option] = [min(each, depth) for each in value]
        return {option: value for option, value in changed.items() if value != options[option]}

    return move


def _per_layer(options: Mapping[Option, Any], prefix: Option, before: int, after: int) -> Overrides:
    changed: Overrides = {}
    for option, value in options.items():
        if option[:-1] != prefix:
            continue
        if _is_by_layer(value, before):
            changed[option] = {key: entry for key, entry in value.items() if int(key) < after}
        elif not isinstance(value, list) or not value:
            continue
        elif _PER_LAYER_INDEX.search(option[-1]) and _is_ints(value):
            if max(value) >= after:
                changed[option] = list(range(max(after - len(value), 0), after))
        elif len(value) == before:
            changed[option] = value[:after]
    return changed


def _is_by_layer(value: Any, depth: int) -> bool:
    """Whether it is a dict from numbers of layers."""
    return isinstance(value, dict) and bool(value) and all(str(key).isdigit() and int(key) < depth for key in value)


def _cap_move(names: re.Pattern[str], most: int) -> Move:
    """At most so much for options of these names."""

    def move(options: Mapping[Option, Any]) -> Overrides:
        return {
            option: most
            for option, value in options.items()
            if names.search(option[-1]) and _is_int(value) and value > most
        }

    return move


def _experts_move(most: int) -> Move:
    """At most so many experts, but four for each group of them, and as many as a token goes to."""

    def move(options: Mapping[Option, Any]) -> Overrides:
        capped = _cap_move(_EXPERTS, most)(options)
        least = {option: _least_experts(options, option[:-1]) for option in capped}
        more = {option: max(most, least[option]) for option in capped}
        return {option: value for option, value in more.items() if value < options[option]}

    return move


def _least_experts(options: Mapping[Option, Any], prefix: Option) -> int:
    mine: dict[str, int] = {
        option[-1]: value for option, value in options.items() if option[:-1] == prefix and _is_int(value)
    }
    groups = [4 * value for name, value in mine.items() if _EXPERT_GROUPS.search(name)]
    chosen = [value for name, value in mine.items() if _EXPERTS_OF_TOKEN.search(name)]
    return max([1, *groups, *chosen])


def _vocabulary_move(most: int) -> Move:
    """A vocabulary of at most so many tokens; ids beyond it become its last."""

    def move(options: Mapping[Option, Any]) -> Overrides:
        changed = _cap_move(_VOCABULARY, most)(options)
        if not changed:
            return {}
        for option, value in options.items():
            if _TOKEN.search(option[-1]) and _is_int(value) and value >= most:
                changed[option] = most - 1
            elif _TOKEN.search(option[-1]) and _is_ints(value) and max(value) >= most:
                changed[option] = [min(each, most - 1) for each in value]
        return changed

    return move


def _width_move(factor: int) -> Move:
    """Everything that is a width divided by the same factor. Heads stay as many and get narrower."""

    def move(options: Mapping[Option, Any]) -> Overrides:
        narrower = {option: _narrower(option[-1], value, factor) for option, value in options.items()}
        changed = {option: value for option, value in narrower.items() if value != options[option]}
        return changed if all(_heads_fit(options, option, value) for option, value in changed.items()) else {}

    return move


def _heads_fit(options: Mapping[Option, Any], option: Option, after: Any) -> bool:
    """Whether a model's width still divides into heads of an even width of at least four, if it did.

    It need not where heads have a width of their own.
    """
    before = options[option]
    if not _MODEL_WIDTH.search(option[-1]) or not _is_int(before):
        return True
    beside = {other[-1]: value for other, value in options.items() if other[:-1] == option[:-1] and _is_int(value)}
    if any("head_dim" in name for name in beside):
        return True
    steps = [2 * value for name, value in beside.items() if _HEADS.search(name) and value and before % (2 * value) == 0]
    return all(after % step == 0 and after >= 2 * step for step in steps)


def _narrower(name: str, value: Any, factor: int) -> Any:
    """An option's value with its widths divided, also where it is a dict of options; the same where it has none."""
    if isinstance(value, dict):
        return {key: _narrower(str(key), entry, factor) for key, entry in value.items()}
    if not _WIDTH.search(name) or _NO_WIDTH.search(name):
        return value
    if _is_int(value) and _divides(factor, value):
        return value // factor
    if _is_ints(value) and all(_divides(factor, each) for each in value):
        return [each // factor for each in value]
    return value


def _divides(factor: int, value: int) -> bool:
    return value % factor == 0 and value // factor >= 2


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_ints(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_int, value))


_DEPTHS = tuple(_depth_move(depth) for depth in (2, 3, 4, 5, 6, 8, 12, 16))
#: Each line is one kind of move, the boldest first.
_MOVES: tuple[tuple[Move, ...], ...] = (
    _DEPTHS,
    tuple(_experts_move(most) for most in (8, 16, 32, 64)),
    tuple(_vocabulary_move(most) for most in (96, 256, 1024, 4096)),
    tuple(_cap_move(_POSITIONS, most) for most in (64, 128, 512)),
    tuple(_width_move(factor) for factor in (16, 8, 4, 2)),
    tuple(_width_move(factor) for factor in (4, 2)),
    tuple(_cap_move(_IMAGE, most) for most in (32, 64, 96, 128)),
)


def _options_of(config: Any, prefix: Option = ()) -> Iterator[tuple[Option, Any]]:
    """Every option of a config and of the configs inside it, with tuples as lists."""
    inside = dict(_configs_in(config))
    for name, value in config.to_dict().items():
        if name not in inside:
            yield (*prefix, name), list(value) if isinstance(value, tuple) else value
    yield from chain.from_iterable(_options_of(each, (*prefix, name)) for name, each in inside.items())


def _configs_in(config: Any) -> Iterator[tuple[str, Any]]:
    for name, value in vars(config).items():
        if hasattr(value, "to_diff_dict"):
            yield name, value


def _rebuilt(config: Any, overrides: Overrides) -> Any:
    """The config with other values, made anew, so that what it derives from them is right."""
    return type(config).from_dict(_as_dict(config, overrides, ()))


def _as_dict(config: Any, overrides: Overrides, prefix: Option) -> dict[str, Any]:
    inside = {name: _as_dict(each, overrides, (*prefix, name)) for name, each in _configs_in(config)}
    mine = {option[-1]: value for option, value in overrides.items() if option[:-1] == prefix}
    return {**config.to_diff_dict(), **inside, **mine, "model_type": config.model_type}
