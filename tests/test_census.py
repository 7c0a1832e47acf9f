"""The census: which layers it draws, and what it makes of their times. Nothing is timed."""

import json
from argparse import Namespace
from collections import Counter

import pytest
from benchmarks import census
from benchmarks.census import Comparison, Measured, Summary, Used
from benchmarks.problems import Problem
from benchmarks.side_by_side import Row

from fastconv.engine.geometry import ConvGeometry


@pytest.mark.parametrize(
    ("descriptor", "kind"),
    [
        ("ic8 oc8 i7 k1 s2", "1x1"),
        ("ic8 oc8 i7 kh3 kw1 p1", "dense"),
        ("ic8 oc8 i8 k2 s2", "strided"),
        ("g2 ic8 oc8 i7 k1", "grouped"),
        ("g8 ic8 oc16 i7 k3 s2 d2", "depthwise"),
        ("ic8 oc8 i7 k3 s2 d2", "dilated"),
        ("g8 ic8 oc8 id4 ih4 iw4 kd1 kh1 kw1", "volume"),
    ],
)
def test_kinds(descriptor, kind):
    assert census.kind_of(ConvGeometry.parse(descriptor)) == kind


def test_the_networks_hold_every_kind():
    layers = census.layers_of_networks()
    assert {layer.kind for layer in layers} == set(census.KINDS)
    assert len({layer.geometry for layer in layers}) == len(layers)


@pytest.mark.parametrize("n", [1, 5, 20, 193, 1000])
def test_shares_are_equal_as_far_as_possible(n):
    available = {"many": 90, "few": 3, "more": 100}
    taken = census.shares(available, n)
    assert sum(taken.values()) == min(n, 193)
    full = [kind for kind in available if taken[kind] == available[kind]]
    rest = [taken[kind] for kind in available if kind not in full]
    assert not rest or (max(rest) - min(rest) <= 1 and all(taken[kind] <= max(rest) for kind in full))


def test_samples_repeat_and_follow_uses():
    layers = [Used("1x1", 1 + 99 * (i < 10), ConvGeometry.parse(f"ic{i + 1} oc1 i4 k1")) for i in range(100)]
    assert census.sample(layers, 20, 3) == census.sample(list(layers), 20, 3)
    assert len(set(census.sample(layers, 200, 0))) == 100
    drawn = Counter(layer.uses for seed in range(200) for layer in census.sample(layers, 1, seed))
    assert 170 <= drawn[100] <= 194  # 1000 of 1090 uses: 183 expected, with a deviation of 4


def test_files_are_read_and_faults_named(tmp_path):
    path = tmp_path / "layers.csv"
    path.write_text("kind,uses,models,descriptor\n1x1,9,2,n1 ic3 oc4 ih5 iw5 kh1 kw1 s1 p0\n")
    assert census.layers_of_file(path) == [Used("1x1", 9, ConvGeometry.parse("ic3 oc4 i5 k1"))]
    path.write_text("kind,uses,models,descriptor\n1x1,9,2,n1 ic3\n")
    with pytest.raises(ValueError, match="line 2: descriptor 'n1 ic3'"):
        census.layers_of_file(path)
    path.write_text("kind,models\n")
    with pytest.raises(ValueError, match="descriptor is missing"):
        census.layers_of_file(path)


def measured(kind: str, uses: int, ours: float, **peers: float) -> Measured:
    problem = Problem("conv", ConvGeometry.parse("ic8 oc8 i7 k1"))
    row = Row({"ours": ours, **peers}, problem, 1e9, {}, {}, {"ours": 1e-6})
    return Measured(Used(kind, uses, problem.geometry), "implicit", row)


def test_ratios_are_to_the_fastest_peer_that_takes_part():
    comparison = Comparison("ours", ("a", "b"))
    assert comparison.ratio({"ours": 2.0, "a": 3.0, "b": 1.0, "c": 0.1}) == 0.5
    assert comparison.ratio({"ours": 2.0, "a": 3.0}) == 1.5
    assert comparison.ratio({"ours": 2.0, "c": 3.0}) is None
    assert comparison.ratio({"a": 3.0}) is None


def test_summaries():
    rows = [measured("1x1", 9, 1.0, a=4.0), measured("1x1", 1, 1.0, a=0.5), measured("dense", 1, 1.0, a=1.0)]
    kinds = census.summaries(rows, Comparison("ours", ("a",)))
    assert kinds["1x1"] == Summary(2, pytest.approx(2**0.5), 0.5, 0.5, 0.5)
    assert kinds["dense"] == Summary(1, 1.0, 1.0, 0.0, 1.0)
    both = Summary.weighted(kinds, {"1x1": 0.75, "dense": 0.25})
    assert (both.rows, both.won, both.lost, both.least) == (3, 0.625, 0.375, 0.5)
    assert both.geomean == pytest.approx(2**0.375)


def test_sums_count_every_use_and_only_libraries_that_take_part_in_all():
    rows = [measured("1x1", 9, 1.0, a=4.0), measured("dense", 2, 3.0, a=1.0, b=1.0)]
    assert census.sums(rows, ["ours", "a", "b"]) == {"ours": 15.0, "a": 38.0, "b": None}


def test_layers_of_one_network():
    layers = census.layers_of_networks(["vgg16"])
    assert sum(layer.uses for layer in layers) == 13


def test_json_holds_every_row():
    options = Namespace(sample=1, seed=2, threads=1, isolate=False, cpu_time=False, network=None)
    found = json.loads(census.as_json([measured("1x1", 9, 1.0, a=4.0)], options, {"a": "1.0"}))
    (row,) = found["rows"]
    assert (row["descriptor"], row["seconds"]["a"]) == ("n1 ic8 oc8 ih7 iw7 kh1 kw1 s1 p0", 4.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sample", "0"],
        ["--file", "nowhere.csv"],
        ["--gflop", "0"],
        ["--threads", "2", "--cpu-time"],
        ["--network", "vgg16", "--file", "x.csv"],
    ],
)
def test_arguments_that_select_nothing(arguments, capsys):
    with pytest.raises(SystemExit):
        census.main(arguments)
    assert "error:" in capsys.readouterr().err


def test_errors_of_few_outputs_are_in_the_sigma_of_their_terms():
    problem = Problem("conv", ConvGeometry.parse("ic100 oc1 i1 k1"))
    (x, weight) = problem.arrays()
    truth = (x.ravel() @ weight.ravel()).reshape(1, 1, 1, 1)
    assert problem.error(truth + 1, truth) == pytest.approx(0.1, rel=1e-5)
