"""How fast this machine is: the rates from which strategies estimate what they cost.

The constants of the cost models were fitted on one machine, whose rates are `REFERENCE`. Costs are scaled from it to
another one, each by the rate that bounds it. `defaults` are what machines with an instruction set have; ``fastconv
calibrate`` measures the rates of the machine it runs on and keeps them in a small file.

The file is read once, by the first plan of a process, so that equal calls have equal plans. Rates decide which strategy
computes a problem, and on how many threads. They never change how a strategy computes it: the result of a strategy
depends on the instruction set alone.

A file that cannot be used, for whatever reason, is as good as none, and `in_use` says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fastconv.engine.remembering import remembered
from fastconv.kernels import private

# The version of the file. Whatever changes the meaning of a rate or how it is measured needs another one.
VERSION = 1

_MOST_BYTES = 4 << 10

# A machine that differs from the reference by more than this does not exist; such a file is damaged.
_FURTHEST = 1000.0


class Rates(NamedTuple):
    """What one core does in a second, and what it costs to share work with another one.

    Attributes
    ----------
    float32, float64 : float
        Floating-point operations per second, with multiply-adds on registers.
    l2, l3, memory : float
        Bytes per second copied within a level of the memory hierarchy, counted once.
    wake : float
        Seconds that two threads take for two tiles, beyond half of what one thread takes.
    """

    float32: float
    float64: float
    l2: float
    l3: float
    memory: float
    wake: float

    def flops(self, itemsize: int) -> float:
        """`float32` or `float64`, by the size of a value in bytes."""
        return self.float32 if itemsize == 4 else self.float64

    def transform_seconds(self) -> float:
        """Of `ratios`: relative seconds of transforms, which compute half of the time and wait for L2 otherwise."""
        # By L2 alone, transforms looked too cheap on narrow vectors: a 7 × 7 filter took 1.4 times as long by "fft".
        return 0.5 / self.float32 + 0.5 / self.l2


REFERENCE = Rates(float32=100e9, float64=50e9, l2=40e9, l3=35e9, memory=10e9, wake=5e-6)

# Those of a Zen 5 core, rounded: the caches of CPUs with vectors of 64 bytes are faster, but not by as much.
_AVX512 = Rates(float32=270e9, float64=135e9, l2=110e9, l3=65e9, memory=20e9, wake=2.5e-6)


class InUse(NamedTuple):
    """Rates, their ratios to those of the reference, and a line that says where they are from."""

    rates: Rates
    ratios: Rates
    origin: str


def rates() -> Rates:
    """The rates in use: measured ones if there are any, otherwise the `defaults`."""
    return (_current or in_use()).rates


def ratios() -> Rates:
    """`rates` relative to `REFERENCE`: by how much to scale a constant that was fitted there."""
    return (_current or in_use()).ratios


def in_use() -> InUse:
    """The rates that plans are made with, and where they are from."""
    global _current
    if _current is None:
        _current = _kept()
    return _current


# Of this process, once they have been looked up: a plan asks about thirty times.
_current: InUse | None = None


@contextmanager
def substituted(measured: Rates) -> Iterator[None]:
    """Plan with other rates meanwhile, in all threads. For the comparison of plans that are made with either."""
    global _current
    before, _current = _current, _compared(measured, "substituted")
    try:
        yield
    finally:
        _current = before


def defaults() -> Rates:
    """The rates of a machine that has not been measured, by the instruction set in use."""
    from fastconv.kernels.cpu import isa

    return _AVX512 if isa() == "avx512" else REFERENCE


def _compared(measured: Rates, origin: str) -> InUse:
    ratios = Rates(*(rate / reference for rate, reference in zip(measured, REFERENCE, strict=True)))
    return InUse(measured, ratios, origin)


@remembered(most=1)
def _kept() -> InUse:
    """The rates in the file, or the defaults; read once per process."""
    wanted = os.environ.get("FASTCONV_RATES")
    if wanted == "default":
        return _compared(defaults(), "default, as FASTCONV_RATES demands")
    if wanted:
        raise ValueError(f"FASTCONV_RATES={wanted!r}: expected 'default', or nothing")
    path = file_path()
    try:
        if not os.path.lexists(path):
            return _compared(defaults(), "default; fastconv calibrate measures those of this machine")
        if not private.is_ours(os.path.dirname(path)):
            raise PermissionError(f"{os.path.dirname(path)} may be changed by other users")
        content, _ = private.read(path, _MOST_BYTES)
        return _compared(parse(content), f"measured, in {path}")
    except (OSError, ValueError) as error:
        return _compared(defaults(), f"default, since {path} cannot be used: {error}")


def file_path() -> str:
    """Where the rates of this CPU and instruction set are kept; machines may share the directory."""
    return os.path.join(private.users_cache(), "fastconv", f"rates-{_machine()}.json")


def parse(content: bytes) -> Rates:
    """The rates in the contents of a file; `ValueError` says why there are none for this machine."""
    import json  # few processes find a file

    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is damaged") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"it is not of version {VERSION}")
    if document.get("machine") != _machine():
        raise ValueError("it belongs to another CPU or instruction set")
    found = document.get("rates")
    if not isinstance(found, dict) or found.keys() != set(Rates._fields):
        raise ValueError(f"its rates are not {', '.join(Rates._fields)}")
    for name, reference in REFERENCE._asdict().items():
        rate = found[name]
        # Infinity and NaN, too, are numbers for json.
        if type(rate) not in (int, float) or not reference / _FURTHEST <= rate <= reference * _FURTHEST:
            raise ValueError(f"its rate {name} is {rate!r}")
    return Rates(**{name: float(rate) for name, rate in found.items()})


def keep(measured: Rates) -> str:
    """Write the file for processes that start from now on, and return its path; `OSError` if that is impossible."""
    import json

    path, directory = file_path(), writable_directory()
    document = {"version": VERSION, "machine": _machine(), "rates": measured._asdict()}
    private.write(directory, os.path.basename(path), f"{json.dumps(document, indent=2)}\n".encode())
    return path


def writable_directory() -> str:
    """The directory of the file, created if necessary; `OSError` if no file can be written there."""
    directory = os.path.dirname(file_path())
    if private.first_writable([directory]) is None:
        raise PermissionError(
            f"the rates cannot be kept in {directory}: another directory may be named by XDG_CACHE_HOME"
        )
    return directory


@remembered(most=1)
def _machine() -> str:
    """A digest of the CPU and of the instruction set in use."""
    import hashlib  # few processes need it before this

    from fastconv.kernels.cpu import isa  # raises for a bad FASTCONV_ISA, so it is imported by the first plan
    from fastconv.kernels.jit.target import host_facts

    return hashlib.sha256(repr((isa(), *host_facts())).encode()).hexdigest()[:16]
