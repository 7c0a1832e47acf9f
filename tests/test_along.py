"""Plans of filters along one axis after another: what they say of types, axes and means, and what they compute."""

import numpy as np
import pytest

import fastconv
from fastconv.lab.kinds import KINDS
from fastconv.lab.oracles import ORACLES, deviation, max_error

WINDOWS = (
    "maximum ih13 iw17 kh4 kw5 constant",
    "minimum ih13 iw17 kh40 kw5 bw1 mirror asfloat32",
    "maximum ih13 iw17 kw3 kh2 nearest asint64",
    "mean ih13 iw17 kh4 kw5 reflect",
    "mean ih13 iw17 kw50 kh5 wrap asfloat64",
    "mean id5 ih7 iw9 kd2 kh3 kw4 nearesth asint32",
)
PASSES = ("ih13 iw17 kh4 kw5 reflect", "ih13 iw17 kw5 kh3 constant asfloat64", "ih13 iw17 kh30 mirror asint32")
CASES = [("window", text) for text in WINDOWS] + [("passes", text) for text in PASSES]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize(("kind", "descriptor"), CASES)
def test_types_of_arrays_and_results(kind, descriptor, dtype):
    plan = fastconv.plan(descriptor, kind, dtype=dtype)
    g = plan.geometry
    operands = KINDS[kind].operands(g, np.dtype(dtype), np.random.default_rng(3))
    out = KINDS[kind].call(plan, operands)()
    expected = ORACLES[kind](g, *operands)
    assert out.dtype == np.dtype(g.stored or dtype)
    if out.dtype.kind in "iu" and dtype.startswith("float"):
        # A sum that is whole up to its rounding may be cast to either neighbour.
        assert np.abs(out - expected).max() <= len(g.windows)
    else:
        # Whole numbers of 0 to 8 have a mean, in proportion to which their sums err.
        magnitude = max(deviation(expected), float(np.abs(expected).max()))
        assert max_error(out, expected, magnitude) <= 4 * plan.error


def tree(plan):
    return plan.strategy.name, *((part.label, tree(part.plan)) for part in plan.parts)


SWEEP = ("sweep",)


@pytest.mark.parametrize(
    ("kind", "descriptor", "dtype", "expected"),
    [
        ("window", "maximum ih30 iw20 kh3 kw3", "uint8", SWEEP),
        ("window", "maximum id9 ih30 iw20 k3", "float32", ("axes", ("axis d", SWEEP), ("axes h, w", SWEEP))),
        ("window", "mean ih30 iw20 kw3 kh3", "float32", ("axes", ("axis w", SWEEP), ("axis h", SWEEP))),
        ("window", "mean ih30 iw20 kw90", "float32", ("reduced", ("reduced", SWEEP))),
        ("window", "mean i20 k3", "uint8", SWEEP),
        ("window", "mean i20 k3", "int64", ("cast", ("axis h", SWEEP), ("axis w", SWEEP))),
        ("window", "mean i20 k3 constant", "uint8", SWEEP),
        ("window", "mean i20 k3 asfloat64", "uint8", ("cast", ("axes h, w", SWEEP))),
        (
            "window",
            "minimum i20 k3 asfloat64",
            "int16",
            ("cast", ("axis h", SWEEP), ("axis w", SWEEP)),
        ),
        ("passes", "i20 k3", "float32", SWEEP),
        ("passes", "i20 k3 zeros", "float32", SWEEP),
        ("passes", "i20 k3 constant", "float32", ("axes", ("axis h", SWEEP), ("axis w", SWEEP))),
        ("passes", "i20 k3", "float64", ("axes", ("axis h", SWEEP), ("axis w", SWEEP))),
        ("passes", "i20 k3", "uint8", ("ordered",)),
        ("passes", "id9 ih30 iw20 k3", "int32", ("axes", ("axis d", ("ordered",)), ("axes h, w", ("ordered",)))),
        ("passes", "i20 k3", "int64", ("cast", ("axis h", SWEEP), ("axis w", SWEEP))),
    ],
)
def test_trees(kind, descriptor, dtype, expected):
    assert tree(fastconv.plan(descriptor, kind, dtype=dtype)) == expected


@pytest.mark.parametrize(
    ("kind", "descriptor", "fault"),
    [
        ("window", "ih3 kh3", "maximum, minimum, mean"),
        ("window", "maximum iw3 kw1", "expected one along at least one axis"),
        ("window", "maximum ih3 iw3 kh0 kw2", "size=0"),
        ("window", "mean iw3 kw3 bw3", "begin=3"),
        ("window", "mean ih3 iw3 kc3", "kc belongs to no axis"),
        ("window", "mean ih3 iw3 k3 zeros", "zeros"),
        ("window", "mean ih3 iw3 k3 ascomplex64", "ascomplex"),
        ("window", "mean ih0 iw3 k3", "at least one sample"),
        ("passes", "ih3 iw3 k3 zerosh constantw", "zeros and constant"),
        ("passes", f"ih{10**18} iw{10**18} k3", "more elements"),
    ],
)
def test_faulty_descriptors(kind, descriptor, fault):
    with pytest.raises(fastconv.GeometryError, match=fault):
        fastconv.plan(descriptor, kind)


@pytest.mark.parametrize(("kind", "descriptor"), [("window", "mean i9 k3"), ("passes", "i9 k3")])
def test_complex_numbers_are_filtered_by_parts(kind, descriptor):
    with pytest.raises(fastconv.UnsupportedError, match="computes bool, integers, float32 and float64, not complex64"):
        fastconv.plan(descriptor, kind, dtype="complex64")
