"""Frozen dataclasses to JSON and back, checked against their annotations.

Unlike a pickle, what comes back can only be values of the declared types, whoever wrote the bytes.
"""

from __future__ import annotations

import dataclasses
import types
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable
    from json import JSONEncoder

T = TypeVar("T")


def to_json(value: Any) -> bytes:
    """A value made of dataclasses, tuples, frozensets and scalars as JSON on one line of ASCII."""
    return _encoder().encode(value).encode()


def from_json(kind: type[T], data: bytes) -> T:
    """The value of dataclass `kind` that `to_json` turned into `data`.

    Raises `ValueError` where `data` is anything else.
    """
    import json

    decoder: Any = _decoder
    value: T = decoder(kind)(json.loads(data))
    return value


def _one_level(value: Any) -> list[Any]:
    if isinstance(value, frozenset):
        return sorted(value)
    kind: Any = type(value)
    return [getattr(value, name) for name in _field_names(kind)]


@cache
def _encoder() -> JSONEncoder:
    from json import JSONEncoder

    return JSONEncoder(default=_one_level, separators=(",", ":"))


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    if dataclasses.is_dataclass(kind):
        return _dataclass_decoder(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and arguments[1:] == (...,):
        return _sequence_decoder(tuple, _decoder(arguments[0]))
    if origin is tuple:
        return _fixed_tuple_decoder(tuple(_decoder(argument) for argument in arguments))
    if origin is frozenset:
        return _sequence_decoder(frozenset, _decoder(arguments[0]))
    if origin in (Union, types.UnionType):
        return _union_decoder(tuple(_decoder(argument) for argument in arguments))
    if origin is Literal:
        return _literal_decoder(frozenset(arguments))
    return _scalar_decoder(kind)


def _dataclass_decoder(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    decoders = tuple(_decoder(hints[name]) for name in _field_names(kind))

    def decode_fields(data: Any) -> Any:
        if not isinstance(data, list) or len(data) != len(decoders):
            raise ValueError(f"not a {kind.__name__}")
        return kind(*[decoder(item) for decoder, item in zip(decoders, data, strict=True)])

    return decode_fields


def _sequence_decoder(kind: type, item_decoder: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decode_items(data: Any) -> Any:
        if not isinstance(data, list):
            raise ValueError("not a list")
        return kind([item_decoder(item) for item in data])

    return decode_items


def _fixed_tuple_decoder(decoders: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    def decode_items(data: Any) -> Any:
        if not isinstance(data, list) or len(data) != len(decoders):
            raise ValueError("not a list of the right length")
        return tuple(decoder(item) for decoder, item in zip(decoders, data, strict=True))

    return decode_items


def _union_decoder(decoders: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    def decode_any(data: Any) -> Any:
        for decoder in decoders:
            try:
                return decoder(data)
            except ValueError:
                continue
        raise ValueError("none of the declared types")

    return decode_any


def _literal_decoder(choices: frozenset[Any]) -> Callable[[Any], Any]:
    def decode_choice(data: Any) -> Any:
        if not isinstance(data, str | int) or data not in choices:
            raise ValueError("not one of the declared values")
        return data

    return decode_choice


def _scalar_decoder(kind: type) -> Callable[[Any], Any]:
    def decode_scalar(data: Any) -> Any:
        if type(data) is not kind and not (kind is types.NoneType and data is None):
            raise ValueError(f"not a {kind.__name__}")
        return data

    return decode_scalar
