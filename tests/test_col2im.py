"""The input's gradient by one product and col2im: exact sums, whatever parts it is computed in."""

import numpy as np
import pytest

import fastconv
from fastconv.engine.gradients import columns
from fastconv.lab.kinds import KINDS
from fastconv.lab.oracles import ORACLES

GRADIENT = KINDS["input_gradient"]

DESCRIPTORS = (
    "n3 ic7 oc5 ih9 iw12 k3 s2 p1",
    "n2 g3 ic12 oc6 ih8 iw10 kh2 kw3 sh1 sw2 dh2 dw1 pt2 pb1 pl0 pr3",
    "n2 ic4 oc9 id5 ih6 iw7 k3 s2 p1",
    "n2 g2 ic4 oc6 id4 ih3 iw9 kd2 kh1 kw3 sd1 sh1 sw4",
    "n1 ic3 oc2 ih4 iw30 kh3 kw5 sh3 sw3 d2 p4",
)


def computed(descriptor, threads, dtype="float32"):
    plan = fastconv.plan(descriptor, "input_gradient", dtype=dtype, strategy="col2im", num_threads=threads)
    operands = GRADIENT.operands(plan.geometry, np.dtype(np.int8), np.random.default_rng(5))
    out = GRADIENT.call(plan, tuple(operand.astype(dtype) for operand in operands))()
    return out, ORACLES["input_gradient"](plan.geometry, *operands)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("most", [1, 2000, 1 << 20])
@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_parts_of_any_size_are_exact(descriptor, most, dtype, monkeypatch):
    """Whole numbers do not round: some channels of a group, some groups, or all of them, and some images."""
    monkeypatch.setattr(columns, "_COLUMNS_BYTES", most)
    monkeypatch.setattr(columns, "_PACKED_BYTES", 2 * most)
    for threads in (1, 2):
        out, expected = computed(descriptor, threads, dtype)
        np.testing.assert_array_equal(out, expected)


def test_small_maps_of_many_channels_take_it():
    """And large maps and kernels without a stride are left to convolutions."""
    chosen = {
        text: fastconv.plan(text, "input_gradient").strategy.name
        for text in ("ic256 oc256 i14 k3 s2 p1", "ic64 oc64 i112 k3 s2 p1", "ic256 oc256 i28 k3 p1", "ic9 oc9 i5 k1")
    }
    assert list(chosen.values()) == ["col2im", "phases", "phases", "phases"]


def test_a_transposed_convolution_is_finished_after_it():
    rng = np.random.default_rng(1)
    x, weight, bias = rng.standard_normal((2, 32, 4, 4)), rng.standard_normal((32, 32, 3, 3)), rng.standard_normal(32)
    out = fastconv.conv_transpose2d(x, weight, bias, 2, activation="relu")
    plain = fastconv.conv_transpose2d(x, weight, None, 2)
    np.testing.assert_array_equal(out, np.maximum(plain + bias.reshape(-1, 1, 1), 0))
