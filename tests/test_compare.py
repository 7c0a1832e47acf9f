"""`compare_conv2d`: what it reports must be true of the strategies, and independent of how it is reported."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import fastconv
from fastconv import compare_conv2d
from fastconv.engine import timing
from fastconv.engine.convolution import BY_NAME
from fastconv.engine.plan import format_percent, format_seconds
from fastconv.lab.comparison import Measurement, format_ratio

UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}


def problem(dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 4, 13, 11)).astype(dtype)
    weight = rng.standard_normal((6, 2, 3, 3)).astype(dtype)
    bias = rng.standard_normal(6).astype(dtype)
    return x, weight, bias, {"stride": (2, 1), "padding": 1, "groups": 2}


@pytest.fixture(scope="module", params=["float32", "float64"])
def comparison(request):
    x, weight, bias, window = problem(request.param)
    return compare_conv2d(x, weight, bias, **window, num_threads=1, repeats=2)


def test_every_strategy_is_listed_once(comparison):
    assert sorted(m.name for m in comparison.measurements) == sorted(fastconv.strategies())


def test_measured_and_refused_are_told_apart(comparison):
    for m in comparison.measurements:
        figures = (m.seconds, m.first_seconds, m.repeats, m.measured_error)
        if m.refusal is None:
            assert None not in figures
            assert m.seconds > 0
            assert 1 <= m.repeats <= 2
        else:
            assert m.refusal
            assert figures == (None,) * 4


def test_strategies_are_sorted_by_time_with_refusals_last(comparison):
    seconds = [math.inf if m.seconds is None else m.seconds for m in comparison.measurements]
    assert seconds == sorted(seconds)


def test_errors_are_within_the_rigorous_bound_of_a_sum(comparison):
    """Higham 2002, section 4.2: at most γ_K times the sum of the absolute products, in whatever order."""
    x, weight, bias, window = problem(comparison.dtype)
    products = fastconv.conv2d(abs(x).astype(float), abs(weight).astype(float), abs(bias).astype(float), **window)
    outputs = fastconv.conv2d(*(a.astype(float) for a in (x, weight, bias)), **window, strategy="reference")
    terms = comparison.geometry.reduction + 2  # the bias, and the store
    bound = 1.01 * terms * UNIT[comparison.dtype] * products.max() / outputs.std()
    sums = [
        m for m in comparison.measurements if m.refusal is None and BY_NAME[m.name].componentwise(comparison.geometry)
    ]
    assert sums
    for m in (*sums, comparison.scipy):
        assert m.measured_error <= bound, m.name


def test_measured_errors_are_of_the_expected_order(comparison):
    """An expected error is the typical largest of many normal values: a few hundred stay near it."""
    for m in comparison.measurements:
        if m.refusal is None:
            assert m.measured_error <= 4 * m.expected_error, m.name


def test_measured_error_is_that_of_the_strategy(comparison):
    x, weight, bias, window = problem(comparison.dtype)
    expected = fastconv.conv2d(*(a.astype(float) for a in (x, weight, bias)), **window, strategy="reference")
    out = fastconv.conv2d(x, weight, bias, **window, strategy="im2col", num_threads=1)
    measured = next(m.measured_error for m in comparison.measurements if m.name == "im2col")
    assert measured == pytest.approx(abs(out - expected).max() / expected.std(), rel=1e-6)


def test_auto_is_the_plans_choice(comparison):
    x, weight, _, window = problem(comparison.dtype)
    plan = fastconv.plan_conv2d(x.shape, weight.shape, dtype=comparison.dtype, **window, num_threads=1)
    assert comparison.auto == plan.strategy.name


def test_to_dict_survives_json(comparison):
    plain = comparison.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["problem"] == "n2 g2 ic4 oc6 ih13 iw11 kh3 kw3 sh2 sw1 p1"
    for entry in plain["strategies"]:
        if entry["refusal"] is None:
            assert entry["flops"] * entry["seconds"] == pytest.approx(plain["flops"])
            assert entry["peak_share"] * plain["peak_flops"] == pytest.approx(entry["flops"])
            assert entry["speedup_over_scipy"] * entry["seconds"] == pytest.approx(plain["scipy"]["seconds"])


def test_report_is_one_aligned_table(comparison):
    lines = str(comparison).splitlines()
    assert lines[0] == f"n2 g2 ic4 oc6 ih13 iw11 kh3 kw3 sh2 sw1 p1, {comparison.dtype}, 1 thread"
    ran = sum(m.refusal is None for m in comparison.measurements)
    table = lines[4 : 4 + ran + 3]  # a heading of two lines before, SciPy after
    assert {len(line) for line in table} == {len(table[0])}
    assert [line.split()[1] for line in table if line.startswith("*")] == [comparison.auto]
    assert max(map(len, lines)) <= 80


def test_refusal_for_workspace_states_sizes():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 2, 40, 40)), rng.standard_normal((3, 2, 3, 3))
    comparison = compare_conv2d(x, weight, max_workspace=1 << 19, repeats=1, strategies=["toeplitz", "direct"])
    direct, toeplitz = comparison.measurements
    assert direct.refusal is None
    assert toeplitz.refusal.endswith("of workspace, the limit is 512 KiB")
    assert toeplitz.workspace_bytes > 1 << 19
    assert f"toeplitz  refuses: {toeplitz.refusal}" in str(comparison)


def test_what_auto_leaves_out_is_measured_and_noted():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 2, 9, 9)), rng.standard_normal((3, 2, 3, 3))
    (fft,) = compare_conv2d(x, weight, strategies=["fft"], tolerance=0, repeats=1).measurements
    assert fft.refusal is None
    assert "above the tolerance" in fft.note


def test_all_may_refuse():
    comparison = compare_conv2d(
        np.ones((1, 1, 9, 9)), np.ones((1, 1, 3, 3)), strategies=["toeplitz"], max_workspace=0, repeats=1
    )
    assert comparison.measurements[0].refusal
    assert "refuses" in str(comparison)


@pytest.mark.parametrize("options", [{"activation": "relu"}, {"dilation": 2}, {"padding": ((0, 2), (1, 0))}])
def test_scipy_computes_the_same(options):
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((3, 12, 12)), rng.standard_normal((2, 3, 3, 3))
    comparison = compare_conv2d(x, weight, **options, strategies=["im2col"], repeats=1)
    assert comparison.scipy.measured_error < 1e-14


def test_non_finite_values_stay_where_they_belong():
    x = np.ones((1, 1, 12, 12))
    x[0, 0, 3, 3], x[0, 0, 8, 8] = np.nan, np.inf
    weight = np.random.default_rng(0).standard_normal((1, 1, 3, 3))
    comparison = compare_conv2d(x, weight, repeats=1)
    for m in (*comparison.measurements, comparison.scipy):
        if m.refusal is None:
            assert m.measured_error < max(1e-13, 4 * (m.expected_error or 0)), m.name


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_outputs_have_a_scale(value):
    comparison = compare_conv2d(np.full((1, 1, 5, 5), value), np.ones((1, 1, 3, 3)), strategies=["direct"], repeats=1)
    assert comparison.measurements[0].measured_error == 0


def test_a_wrong_strategy_is_found_out(monkeypatch):
    monkeypatch.setattr(type(BY_NAME["direct"]), "run", lambda *arguments: None)
    comparison = compare_conv2d(np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)), strategies=["direct"], repeats=1)
    assert comparison.measurements[0].measured_error == math.inf
    (entry,) = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))["strategies"]
    assert (entry["measured_error"], entry["finite_where_expected"]) == (None, False)


def test_progress_counts_up_to_its_total():
    seen = []
    compare_conv2d(
        np.ones((1, 1, 5, 5)),
        np.ones((1, 1, 3, 3)),
        strategies=["im2col"],
        repeats=2,
        progress=lambda done, total, name: seen.append((done, total, name)),
    )
    assert [done for done, _, _ in seen] == list(range(len(seen)))
    assert {total for _, total, _ in seen} == {len(seen)}
    assert {name for _, _, name in seen} == {"reference", "im2col", "scipy.signal", "peak"}


def test_medians_and_spreads_are_those_of_the_samples(comparison):
    for m in comparison.contenders():
        assert len(m.samples) == m.repeats
        assert m.seconds == pytest.approx(np.median(m.samples))
    assert Measurement("any", samples=(1.0, 2.0, 3.0, 4.0, 6.0)).spread == pytest.approx((4 - 2) / 2 / 3)
    assert Measurement("any", samples=(1.0,)).spread is None


def test_only_a_busy_machine_is_warned_of(comparison):
    assert "warning" not in str(replace(comparison, noise=0.01, shared=0.01))
    assert "its peak varied by ± 12.0 %" in str(replace(comparison, noise=0.12, shared=0.01))
    assert "other programs took 30.0 % of a core" in str(replace(comparison, noise=0.01, shared=0.3))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"strategies": ["im2col", "guess"]}, "strategies="),
        ({"strategies": []}, "strategies="),
        ({"strategies": "im2col"}, "strategies="),
        ({"strategies": ["auto"]}, "strategies="),
        ({"repeats": 0}, "repeats=0"),
        ({"repeats": 2.5}, "repeats=2.5"),
        ({"max_workspace": -1}, "max_workspace=-1"),
        ({"num_threads": 0}, "num_threads=0"),
        ({"tolerance": -1.0}, "tolerance=-1.0"),
        ({"stride": 0}, "stride=0"),
    ],
)
def test_bad_arguments_are_named(options, fault):
    with pytest.raises(ValueError, match=fault):
        compare_conv2d(np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)), **options)


def test_an_empty_batch_is_refused():
    with pytest.raises(fastconv.GeometryError, match="no image"):
        compare_conv2d(np.ones((0, 1, 5, 5)), np.ones((1, 1, 3, 3)))


def test_plot_writes_a_picture(comparison, tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is an optional dependency")
    pytest.importorskip("matplotlib", reason="matplotlib is an optional dependency")
    comparison.plot(tmp_path / "chart.png")
    with pillow.open(tmp_path / "chart.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_plot_of_refusals_and_of_a_suffix_that_is_no_format(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is an optional dependency")
    x, weight = np.ones((1, 1, 9, 9)), np.ones((1, 1, 3, 3))
    comparison = compare_conv2d(x, weight, strategies=["toeplitz", "im2col"], max_workspace=4096, repeats=1)
    comparison.plot(tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").read_text().startswith("<?xml")
    with pytest.raises(ValueError, match="ends in one of"):
        comparison.plot(tmp_path / "chart.docx")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 µs"), (2e-7, "0.2 µs"), (9.996e-4, "1 ms"), (0.0195, "19.5 ms"), (0.99951, "1 s"), (1234.5, "1,234 s")],
)
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.004, "0.4 %"), (0.548, "54.8 %"), (0.9996, "100 %"), (1.554, "155 %"), (12.3, "1230 %")]
)
def test_format_percent(share, text):
    assert format_percent(share) == text


@pytest.mark.parametrize(("ratio", "text"), [(0.4, "0.40×"), (9.99, "9.99×"), (12.34, "12.3×"), (1234.5, "1,234×")])
def test_format_ratio(ratio, text):
    assert format_ratio(ratio) == text


def test_bursts_are_interleaved(monkeypatch):
    monkeypatch.setattr(timing, "_BURST_SECONDS", 1e-9)
    made = []
    contenders = [timing.Contender(name, lambda name=name: made.append(name)) for name in "ab"]
    timing.interleave(contenders, 3, lambda name: None)
    assert "".join(made) == "ab" * 3 + "ba"  # first calls, calibration, then rounds that begin with each in turn
    assert [len(contender.samples) for contender in contenders] == [3, 3]


def test_slow_contenders_get_fewer_repeats(monkeypatch):
    monkeypatch.setattr(timing, "_CONTENDER_SECONDS", 0.0)
    contender = timing.Contender("slow", lambda: None)
    timing.interleave([contender], 5, lambda name: None)
    assert len(contender.samples) == 1


@pytest.mark.parametrize("offset", [0, 3, 100])
@pytest.mark.parametrize("taps", [3, 5])
def test_expected_errors_hold_for_data_with_a_mean(offset, taps):
    """Planning knows no values; the report does."""
    rng = np.random.default_rng(taps)
    x = (rng.standard_normal((1, 3, 60, 70)) * np.linspace(0.1, 2, 70) + offset).astype(np.float32)
    weight = rng.standard_normal((16, 3, taps, taps)).astype(np.float32)
    names = ["implicit", "direct", "im2col", "winograd2", "fft"]
    report = compare_conv2d(x, weight, padding=0, strategies=names, repeats=1, num_threads=1)
    planned = {c.name: c.error for c in fastconv.plan_conv2d(x.shape, weight.shape, padding=0).candidates}
    for m in report.measurements:
        assert m.measured_error <= m.expected_error, m.name
        assert m.expected_error >= planned[m.name]
