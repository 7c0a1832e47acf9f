"""The breadth suite: what it discovers, and that its cases are calls that both sides accept. Nothing is timed."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks import breadth
from benchmarks.calls import check, scipy_function

import fastconv


def test_shared_names_are_public_functions_of_both():
    ours = SimpleNamespace(relu=abs, tanh=abs, _hidden=abs, Layer=SimpleNamespace, alone=abs)
    theirs = SimpleNamespace(relu=abs, tanh=abs, _hidden=abs, Layer=SimpleNamespace, more=abs)
    assert breadth.shared_names(ours, theirs) == ["relu", "tanh"]


def test_names_without_cases_are_reported(monkeypatch):
    monkeypatch.delitem(breadth.MAKERS, "signal.convolve")
    measured, without = breadth.discovered("scipy")
    assert without == ["signal.convolve"]
    assert "signal.convolve" not in measured
    assert "ndimage.convolve" in measured


@pytest.mark.parametrize("function", breadth.MAKERS)
def test_makers_belong_to_functions(function):
    room, _, name = function.partition(".")
    assert callable(getattr(getattr(fastconv, room), name))


# Pools are left to their own tests: each would be compiled for every case.
@pytest.mark.parametrize("function", [f for f in breadth.MAKERS if "pool" not in f])
def test_cases_are_accepted(function):
    room, _, name = function.partition(".")
    shape, dtype = breadth.SIZES[room][0], breadth.TYPES[room][0]
    found = list(breadth.MAKERS[function](name, breadth.Data(dtype), shape))
    assert len({case.label for case in found}) == len(found)
    for case in found:
        ours = partial(getattr(getattr(fastconv, room), name), *case.args, **case.kwargs)
        if room in breadth.ROOMS["scipy"] and function not in breadth._NOT_COMPARED:
            check(f"{function} {case.label}", ours, scipy_function(f"{room}.{name}")(*case.args, **case.kwargs))
        else:
            ours()


def test_every_function_has_cases_in_some_size():
    for function in breadth.MAKERS:
        assert next(breadth.cases(function), None) is not None, function


def test_a_seed_draws_the_same_sizes_windows_and_layouts_again():
    for function in ("nn.conv1d", "nn.conv_transpose2d", "grad.conv2d_weight", "nn.relu"):
        drawn = [(label, case.kwargs) for label, case in breadth.cases(function, 1)]
        assert drawn == [(label, case.kwargs) for label, case in breadth.cases(function, 1)]
        assert drawn != [(label, case.kwargs) for label, case in breadth.cases(function, 2)]
        assert any(label.endswith("channels last") for label, _ in drawn)


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv_transpose2d"])
def test_drawn_windows_are_accepted(name):
    shape, drawn = (2, 6, 9, 10), breadth.random.Random(0)
    for case in breadth.MAKERS[f"nn.{name}"](name, breadth.Data("float32", drawn, "view"), shape):
        assert not case.args[0].flags.c_contiguous
        getattr(fastconv, name)(*case.args, **case.kwargs)
    for operand in ("input", "weight"):
        gradient = f"conv2d_{operand}"
        for case in breadth.MAKERS[f"grad.{gradient}"](
            gradient, breadth.Data("float32", drawn, "channels last"), shape
        ):
            getattr(fastconv.grad, gradient)(*case.args, **case.kwargs)


def test_functions_are_listed_slowest_first(capsys):
    results = [
        breadth.Result("nn.fast", "tiny", 1e-6, 3e-6),
        breadth.Result("nn.slow", "tiny", 1e-6, 0.5e-6),
        breadth.Result("nn.slow", "large", 1e-6, 1e-6),
    ]
    breadth.print_results(results)
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line.startswith("nn.")]
    assert names == ["nn.slow", "nn.fast"]
    assert "  0.50 nn.slow tiny: 1 to 0.5" in lines
    assert any(line.startswith("1 of 3 rows below 0.7") for line in lines)


def test_data_repeats_and_has_its_type():
    for dtype in ("float32", "float64", "complex128", "uint8"):
        one, two = breadth.Data(dtype)(3, 4), breadth.Data(dtype)(3, 4)
        assert one.dtype == dtype
        np.testing.assert_array_equal(one, two)


def test_every_name_of_scipys_has_cases():
    measured, without = breadth.discovered("scipy")
    assert not without
    for function in measured:
        room, _, name = function.partition(".")
        assert any(True for dtype in breadth.TYPES[room] for shape in breadth.SIZES[room][:4]
                   for _ in breadth.MAKERS[function](name, breadth.Data(dtype), shape)), function  # fmt: skip


def test_layouts_have_the_same_values():
    array = breadth.Data("float32")(4, 6)
    for viewed in breadth.LAYOUTS.values():
        np.testing.assert_array_equal(viewed(array), array)
        assert not viewed(array).flags.c_contiguous


def test_errors_are_multiples_of_the_originals(capsys):
    exact = np.array([1.0, 100.0])

    def found(error):
        return lambda: (exact + error).astype("f")

    ratio = breadth.error_ratio(found(1e-3), found(1e-4), lambda: exact)
    assert 8 < ratio < 12
    assert breadth.error_ratio(found(0), found(0), lambda: exact) == 0
    assert breadth.error_ratio(lambda: exact, lambda: exact, lambda: exact) is None
    case = breadth.in_float64(breadth.Case("", (exact.astype("f"), 3), {"x": exact.astype("F")}))
    assert [case.args[0].dtype.char, case.args[1], case.kwargs["x"].dtype.char] == ["d", 3, "D"]
    breadth.print_errors({"good": 1.0, "bad": 9.0}, 8)
    assert "1 rows, 50.0 % of 2 rows in float32 and 12.5 % of 8 rows in all\n    9.0 bad" in capsys.readouterr().out
