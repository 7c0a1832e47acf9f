"""Descriptors: the one-line names of problems, parsed and printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, NoReturn, TypeVar

from fastconv.engine.geometry.axes import AXES, BOUNDARIES, PADS, integers
from fastconv.errors import GeometryError

T = TypeVar("T")


class Fields:
    """The fields of a descriptor, which are taken one by one until none is left."""

    def __init__(self, descriptor: str) -> None:
        self.descriptor = descriptor
        self.words: set[str] = set()
        self.fields: dict[str, int] = {}
        for token in descriptor.split():
            match = re.fullmatch(r"([a-z]+)(\d{0,19})", token)
            if match is None:
                self.fail(f"{token!r} is not a name and a number, such as ih56")
            if match[1] in self.fields or match[1] in self.words:
                self.fail(f"{match[1]!r} is repeated")
            if match[2]:
                self.fields[match[1]] = int(match[2])
            else:
                self.words.add(match[1])

    def fail(self, fault: str) -> NoReturn:
        raise GeometryError(f"descriptor {self.descriptor!r}: {fault}")

    def take(self, key: str, default: int | None = None) -> int:
        value = self.fields.pop(key, default)
        if value is None:
            self.fail(f"{key} is missing")
        return value

    def take_word(self, word: str) -> bool:
        present = word in self.words
        self.words.discard(word)
        return present

    def take_boundary(self) -> str:
        """What lies past the edges; zeros, if no word says so."""
        return next((name for name in BOUNDARIES if self.take_word(name)), "zeros")

    def take_axes(self, key: str, axes: str, default: int | None = None) -> tuple[int, ...]:
        """The values of `key`, given for all axes, or per axis as `key` and the axis' letter."""
        common = self.fields.pop(key, default)
        return tuple(self.take(key + axis, common) for axis in axes)

    def take_window(self) -> dict[str, Any]:
        """Extents, kernel, stride, dilation and padding; ``i56 k3`` alone means two axes."""
        named = [a for a in (AXES, AXES[1:], AXES[2:]) if {f"i{a[0]}", f"k{a[0]}"} & self.fields.keys()]
        axes = named[0] if named else AXES[1:]
        ndim = len(axes)
        window: dict[str, Any] = {
            "extent": self.take_axes("i", axes),
            "kernel": integers("k", self.take_axes("k", axes), ndim, 1),
            "stride": integers("s", self.take_axes("s", axes, 1), ndim, 1),
            "dilation": integers("d", self.take_axes("d", axes, 1), ndim, 1),
        }
        pad = self.fields.pop("p", 0)
        window["padding"] = tuple((self.take(begin, pad), self.take(end, pad)) for begin, end in PADS[-ndim:])
        return window

    def build(self, geometry: type[T], **arguments: Any) -> T:
        for rest in (*self.fields, *self.words):
            self.fail(f"unknown field {rest!r}")
        try:
            return geometry(**arguments)
        except GeometryError as error:
            self.fail(str(error))


def format_axes(key: str, values: Sequence[int]) -> list[str]:
    """``s1`` where all axes agree, else ``sh1 sw2``."""
    if len(set(values)) == 1:
        return [f"{key}{values[0]}"]
    return format_each(key, values)


def format_each(key: str, values: Sequence[int]) -> list[str]:
    return [f"{key}{axis}{value}" for axis, value in zip(AXES[-len(values) :], values, strict=True)]


def format_padding(padding: Sequence[tuple[int, int]]) -> list[str]:
    sides = list(chain.from_iterable(padding))
    if len(set(sides)) == 1:
        return [f"p{sides[0]}"]
    return [f"{key}{side}" for key, side in zip(chain.from_iterable(PADS[-len(padding) :]), sides, strict=True)]
