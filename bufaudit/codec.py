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

T = TypeVar("T")


def encode(value: Any) -> Any:
    """A value made of dataclasses, tuples, frozensets and scalars as lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [encode(getattr(value, name)) for name in _field_names(type(value))]
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return value


def decode(kind: type[T], data: Any) -> T:
    """The value of dataclass `kind` that `encode` turned into `data`.

    Raises `ValueError` where `data` is anything else.
    """
    decoder: Callable[[Any], T] = _decoder(kind)  # type: ignore[arg-type]
    return decoder(data)


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
