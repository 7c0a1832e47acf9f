"""Plans and comparisons of every kind of problem: what they say is what runs, and what runs is right."""

import contextlib
import json
import math
import re

import numpy as np
import pytest

import fastconv
from fastconv.cli import main
from fastconv.engine.gradients.weight import Channels
from fastconv.engine.rounding import running_error
from fastconv.lab.kinds import KINDS
from fastconv.lab.oracles import ORACLES, deviation, max_error

PLANES = (
    "n2 ic3 oc4 ih19 iw21 kh3 kw3 s1 p1",
    "n1 g2 ic4 oc6 ih17 iw16 kh5 kw3 sh2 sw3 d2 p2",
    "n2 g8 ic8 oc8 ih20 iw9 kh3 kw3 s2 pt0 pb1 pl2 pr0",
    "n1 ic5 oc7 ih12 iw13 kh1 kw1 s1 p0",
)
POOLS = (
    "n2 c3 ih19 iw21 k3 s2 p1",
    "n1 c2 ih20 iw15 kh5 kw3 sh5 sw3",
    "n2 c4 ih40 iw9 kh7 kw6 s1 p3 ceil",
    "n1 c3 iw200 kw40 sw30 pl5 pr5",
    "n2 c3 i14 k14 s14",
    "n1 c2 id6 ih9 iw8 k2 s2 p1",
    "n2 c1 id9 ih11 iw19 kd3 kh2 kw1 sd2 sh1 sw1",
    "n2 c3 ih13 iw18 o5 adaptive",
)
CONTINUED = (
    "n3 ic3 oc4 ih9 iw11 kh3 kw3 s1 p2 mirror",
    "n2 g2 ic4 oc6 ih17 iw16 kh5 kw3 sh2 sw3 d2 p2 wrap",
    "n2 ic5 oc3 ih12 iw9 k3 p1 nearest nhwc",
    "n1 ic1 oc1 ih3 iw40 kh9 kw5 s2 pt9 pb8 pl2 pr1 reflect",
)
CONTINUED_VOLUMES = (
    "n2 ic2 oc3 id6 ih9 iw8 kd3 kh3 kw3 s1 p1 mirror",
    "n1 g2 ic4 oc2 id7 ih8 iw9 kd2 kh3 kw1 sd1 sh2 sw1 p1 wrap",
    "n2 ic2 oc2 id4 ih5 iw6 kd3 kh1 kw1 pf1 pk2 pt0 pb0 pl0 pr0 nearest",
)
VOLUMES = (
    "n2 ic2 oc3 id6 ih9 iw8 kd3 kh3 kw3 s1 p1",
    "n1 g2 ic4 oc2 id7 ih8 iw9 kd2 kh3 kw1 sd1 sh2 sw1 p1",
    "n2 ic3 oc4 id5 ih7 iw8 k1 sd2 sh1 sw3",
)

FILTERS = (
    "ih60 iw33 kh5 kw4 p2",
    "i31 k7 pt3 pb2 pl6 pr0 reflect",
    "ih700 iw600 kh5 kw9 pt9 pb0 pl4 pr4 nearest",
    "i100 k9 p4 mirror terms1 exact",
    "i100 k12 terms2",
    "iw300 kw31 p40 wrap",
    "id5 ih6 iw7 kd3 kh2 kw3 p1 constant",
)

DESCRIPTORS = {
    "convolution": PLANES + CONTINUED,
    "convolution3d": VOLUMES + CONTINUED_VOLUMES,
    "correlation": FILTERS,
    "input_gradient": PLANES + VOLUMES,
    "weight_gradient": PLANES + VOLUMES,
    "product": ("n3 ic50 oc70", "n1 ic2500 oc33", "n7 ic1 oc1"),
    "window": (
        "mean ih31 iw40 kh5 kw4 reflect",
        "maximum id5 ih9 iw12 kd3 kh2 kw5 constant",
        "minimum iw300 kw7 bw0 nearest",
        "mean ih12 iw9 kw40 kh3 bw7 wraph nearestw",
        "maximum ia2 ib3 ic4 id5 kb2 kd9 wrap",
    ),
    "passes": (
        "ih31 iw40 kh5 kw4 reflect",
        "id5 ih9 iw12 kd3 kh2 kw5 constant",
        "ih20 iw30 kw7 kh3 bw0 wrapw zerosh",
        "ih12 iw9 kh3 kw40 mirror",
        "ia2 ib3 ic4 id5 ka2 kd1 nearest",
    ),
    "max_pool": (*POOLS, "n1 c2 i15 k4 s2 d2 p2", "n2 c3 iw30 ow7 adaptive", "n2 c3 ih11 iw20 o4 k3 drawn"),
    "max_pool_indices": (*POOLS, "n2 c3 ih11 iw20 o4 k3 drawn"),
    "avg_pool": POOLS,
}

CASES = [pytest.param(kind, text, id=f"{kind} {text}") for kind, texts in DESCRIPTORS.items() for text in texts]
FIRST = [pytest.param(kind, texts[0], id=kind) for kind, texts in DESCRIPTORS.items()]


def largest_error(name, geometry, operands, error):
    """The largest error of a result, given the expected `error` of its plan in σ.

    σ is what `Candidate` says it is: the largest root of the sum of the squares of an output's products. Edges, phases
    and small filters make it larger than the deviation of all outputs. An expected error is ten root mean squares of
    what an output errs by, so none is larger. The oracle is a plain sum in float64, whose own errors are added.
    """
    of_values = [operand.dtype == operands[0].dtype for operand in operands]  # others say where windows start
    ones = (np.ones(x.shape) if value else x for x, value in zip(operands, of_values, strict=True))
    squares = (np.square(np.abs(x).astype(float)) if value else x for x, value in zip(operands, of_values, strict=True))
    products, variance = (float(ORACLES[name](geometry, *values).max()) for values in (ones, squares))
    oracle = running_error(round(products), np.dtype(np.float64)) if operands[0].dtype.kind in "fc" else 0.0
    return (error + oracle) * math.sqrt(variance)


def test_every_kind_is_tested_and_has_an_oracle():
    assert set(KINDS) == set(DESCRIPTORS) == set(ORACLES)


@pytest.mark.parametrize("function", [fastconv.plan, fastconv.compare])
def test_every_kind_is_documented(function):
    assert all(f'"{name}"' in function.__doc__ for name in KINDS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "descriptor"), CASES)
def test_strategies_keep_their_promises_or_say_why_not(name, descriptor, dtype):
    kind, ran = KINDS[name], 0
    geometry = kind.parse(descriptor)
    operands = kind.operands(geometry, np.dtype(dtype), np.random.default_rng(1))
    expected = ORACLES[name](geometry, *operands)
    for strategy in fastconv.strategies(name):
        try:
            plan = fastconv.plan(descriptor, name, dtype=dtype, strategy=strategy)
        except fastconv.UnsupportedError:
            continue
        out = kind.call(plan, operands)()
        assert (out.dtype, out.shape) == (np.dtype(dtype), expected.shape)
        assert max_error(out, expected, 1.0) <= largest_error(name, geometry, operands, plan.error), strategy
        ran += 1
    assert ran


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint64", "complex64", "complex128"])
@pytest.mark.parametrize("descriptor", FILTERS)
def test_correlations_compute_every_type(descriptor, dtype):
    kind, type_ = KINDS["correlation"], np.dtype(dtype)
    geometry = kind.parse(descriptor)
    operands = kind.operands(geometry, type_, np.random.default_rng(1))
    expected = ORACLES["correlation"](geometry, *operands)
    for strategy in ("auto", "direct"):
        try:
            plan = fastconv.plan(descriptor, "correlation", dtype=dtype, strategy=strategy)
        except fastconv.UnsupportedError:
            assert strategy == "direct"
            continue
        out = kind.call(plan, operands)()
        assert out.dtype == type_
        assert max_error(out, expected, 1.0) <= largest_error("correlation", geometry, operands, plan.error)


def solvers(plan):
    """The names of all that a plan and its parts run."""
    return {plan.strategy.name}.union(*(solvers(part.plan) for part in plan.parts))


@pytest.mark.parametrize(("name", "descriptor"), CASES)
def test_refusals_say_why(name, descriptor):
    for solver in KINDS[name].solvers:
        reason = solver.refuse(KINDS[name].parse(descriptor), np.dtype("float32"))
        if reason is not None:
            try:
                plan = fastconv.plan(descriptor, name, strategy=solver.name)
            except fastconv.UnsupportedError as error:
                said = str(error)
            else:  # it computes the parts of another solver
                assert solver.name in solvers(plan)
                continue
            assert said.startswith(f"strategy='{solver.name}' cannot compute ")
            assert said.endswith(f": {reason}")


@pytest.mark.parametrize(("name", "descriptor"), CASES)
def test_auto_is_a_strategy_that_can_be_named(name, descriptor):
    auto = fastconv.plan(descriptor, name)
    named = fastconv.plan(descriptor, name, strategy=auto.strategy.name)
    assert (named.strategy, named.seconds, named.parts) == (auto.strategy, auto.seconds, auto.parts)


@pytest.mark.parametrize(("name", "descriptor"), FIRST)
def test_measured_plans_choose_the_quickest(name, descriptor):
    plan = fastconv.plan(descriptor, name, mode="measure")
    measured = {c.name: c.seconds for c in plan.candidates if c.seconds is not None}
    assert plan.strategy.name in measured
    assert plan.seconds == min(measured.values()) == measured[plan.strategy.name]
    assert "measured" in str(plan)


@pytest.mark.parametrize(("name", "descriptor"), CASES)
def test_descriptors_are_read_as_they_are_printed(name, descriptor):
    plan = fastconv.plan(descriptor, name)
    assert KINDS[name].parse(str(plan.geometry)) == plan.geometry
    assert fastconv.plan(plan.geometry, name) is plan


@pytest.mark.parametrize(("name", "descriptor"), FIRST)
def test_comparisons_have_every_strategy(name, descriptor):
    comparison = fastconv.compare(descriptor, name, repeats=1)
    geometry = KINDS[name].parse(descriptor)
    operands = KINDS[name].operands(geometry, np.dtype(np.float32), np.random.default_rng(0))
    sigma = deviation(ORACLES[name](geometry, *operands))
    assert sorted(m.name for m in comparison.measurements) == sorted(fastconv.strategies(name))
    assert comparison.auto == fastconv.plan(descriptor, name).strategy.name
    for m in comparison.measurements:
        assert (m.seconds is None) == (m.measured_error is None) == (m.refusal is not None)
        assert m.refusal or m.measured_error * sigma <= largest_error(name, geometry, operands, m.expected_error)
    lines = str(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in (*lines, *str(fastconv.plan(descriptor, name)).splitlines()))
    plain = comparison.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert (plain["kind"], plain["problem"]) == (name, str(comparison.geometry))


def test_a_wrong_solver_is_found_out(monkeypatch):
    monkeypatch.setattr(Channels, "run", lambda *arguments: None)
    comparison = fastconv.compare(PLANES[0], "weight_gradient", strategies=["channels"], repeats=1)
    assert comparison.measurements[0].measured_error == math.inf


@pytest.mark.parametrize("function", [fastconv.plan, fastconv.compare])
@pytest.mark.parametrize("kind", ["pool", "", None, 3, ["convolution"]])
def test_an_unknown_kind_is_told_the_known_ones(function, kind):
    with pytest.raises(ValueError, match=", ".join(KINDS)):
        function(PLANES[0], kind)


HOSTILE = ("", "nonsense", "k3", "i-3", "i3 i3", "\n", "n1\nk3", "9" * 30, "n1 ic1 oc1 c1 i3 k9 zz1", "i³ k٣")


@pytest.mark.parametrize("function", [fastconv.plan, fastconv.compare])
@pytest.mark.parametrize("name", KINDS)
def test_hostile_descriptors_end_in_one_line(function, name):
    for text in (*HOSTILE, f"{DESCRIPTORS[name][0]} zz1", f"{DESCRIPTORS[name][0]} n1"):
        with pytest.raises(fastconv.GeometryError) as failure:
            function(text, name)
        assert "\n" not in str(failure.value)


@pytest.mark.parametrize("value", [0, 10**9, 10**18, 10**19 - 1])
@pytest.mark.parametrize(("name", "descriptor"), FIRST)
def test_huge_fields_neither_hang_nor_take_memory(name, descriptor, value):
    for field in re.findall(r"[a-z]+", descriptor):
        text = re.sub(rf"\b{field}\d+", f"{field}{value}", descriptor)
        with contextlib.suppress(fastconv.GeometryError, fastconv.UnsupportedError):
            assert str(fastconv.plan(text, name))


@pytest.mark.parametrize(("name", "descriptor"), FIRST)
def test_problems_that_do_not_fit_are_refused_before_memory_is_taken(name, descriptor):
    first = re.compile(r"\d+")
    with pytest.raises(fastconv.GeometryError, match="the limit is"):
        fastconv.compare(first.sub("1" + "0" * 8, descriptor, count=1), name)
    if descriptor.startswith("n"):
        with pytest.raises(fastconv.GeometryError, match="no image"):
            fastconv.compare(first.sub("0", descriptor, count=1), name)


def test_measuring_a_problem_that_does_not_fit_is_refused():
    with pytest.raises(fastconv.GeometryError, match="the limit is"):
        fastconv.plan("ic1 oc1 i2 k2 s1000000000 p100000000", mode="measure")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"dtype": "object"}, TypeError),
        ({"dtype": "U3"}, TypeError),
        ({"dtype": "int32", "strategy": "winograd2"}, fastconv.UnsupportedError),
        ({"strategy": "guess"}, ValueError),
        ({"strategy": None}, ValueError),
        ({"tolerance": -1}, ValueError),
        ({"num_threads": 0}, ValueError),
        ({"max_workspace": -1}, ValueError),
        ({"mode": "guess"}, ValueError),
    ],
)
def test_bad_options_are_named(options, error):
    with pytest.raises(error, match=list(options)[-1]):
        fastconv.plan(PLANES[0], **options)


@pytest.mark.parametrize(("name", "descriptor"), FIRST)
def test_command_line(name, descriptor, capsys):
    assert main(["plan", descriptor, "--kind", name, "--threads", "1"]) == 0
    assert capsys.readouterr().out == f"{fastconv.plan(descriptor, name, num_threads=1)!r}\n"
    strategy = fastconv.plan(descriptor, name).strategy.name
    assert main(["plan", descriptor, "--kind", name, "--mode", "measure", "--strategy", strategy]) == 0
    assert "measured" in capsys.readouterr().out
    assert main(["compare", "--layer", descriptor, "--kind", name, "--strategies", strategy, "--repeats", "1"]) == 0
    assert KINDS[name].describe(KINDS[name].parse(descriptor)) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["plan", "compare"])
def test_help_lists_the_kinds(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in KINDS)
