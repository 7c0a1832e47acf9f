"""Rates of a machine: the file that keeps them, what plans make of them, and the command that measures them."""

import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

from fastconv.cli import main
from fastconv.engine import planner, rates
from fastconv.engine.convolution import BY_NAME, STRATEGIES
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.rates import REFERENCE, Rates
from fastconv.lab import calibration

FLOAT32 = np.dtype(np.float32)
MEASURED = Rates(float32=200e9, float64=70e9, l2=50e9, l3=30e9, memory=12e9, wake=3e-6)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """Each test has a cache of its own and reads the file anew; afterwards plans are those of the defaults again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FASTCONV_RATES", raising=False)
    start_again()
    yield
    monkeypatch.setenv("FASTCONV_RATES", "default")
    start_again()


def start_again():
    """As a new process would."""
    rates._kept.cache_clear()
    rates._current = None
    planner.forget_plans()


def document():
    with open(rates.keep(MEASURED), "rb") as file:
        return json.load(file)


def put(content):
    with open(rates.file_path(), "wb") as file:
        file.write(content)
    start_again()


def test_without_a_file_the_rates_are_those_of_the_instruction_set():
    assert rates.rates() == rates.defaults()
    assert rates.ratios().l2 == rates.defaults().l2 / REFERENCE.l2
    assert rates.in_use().origin.startswith("default")


def test_rates_that_were_kept_are_in_use():
    path = rates.keep(MEASURED)
    start_again()
    assert rates.rates() == MEASURED
    assert rates.ratios().float32 == 2
    assert rates.in_use().origin == f"measured, in {path}"


def test_the_file_is_read_once():
    assert rates.rates() == rates.defaults()
    rates.keep(MEASURED)
    assert rates.rates() == rates.defaults()


def test_the_environment_can_ignore_the_file(monkeypatch):
    rates.keep(MEASURED)
    monkeypatch.setenv("FASTCONV_RATES", "default")
    start_again()
    assert rates.rates() == rates.defaults()
    monkeypatch.setenv("FASTCONV_RATES", "fast")
    start_again()
    with pytest.raises(ValueError, match="FASTCONV_RATES='fast': expected 'default'"):
        rates.rates()


def test_a_file_that_was_cut_short_is_as_good_as_none():
    with open(rates.keep(MEASURED), "rb") as file:
        whole = file.read().rstrip()
    for size in range(len(whole)):
        with pytest.raises(ValueError, match="damaged"):
            rates.parse(whole[:size])
    put(whole[:-1])
    assert rates.rates() == rates.defaults()
    assert "cannot be used: it is damaged" in rates.in_use().origin


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[]", b"null", b"[" * 4000, b"9" * 4096, b'{"version": NaN}'])
def test_files_of_something_else_are_as_good_as_none(content):
    rates.keep(MEASURED)
    put(content)
    assert rates.rates() == rates.defaults()
    assert "cannot be used" in rates.in_use().origin


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": rates.VERSION + 1}, "version"),
        ({"version": None}, "version"),
        ({"machine": "0" * 16}, "another CPU"),
        ({"rates": None}, "rates"),
        ({"rates": REFERENCE._asdict() | {"l4": 1e9}}, "rates"),
        ({"rates": {"float32": 1e11}}, "rates"),
        *(
            ({"rates": REFERENCE._asdict() | {"l2": rate}}, "rate l2")
            for rate in (0, -4e10, 1e20, 10**500, float("nan"), float("inf"), "4e10", True, None, [4e10])
        ),
    ],
)
def test_a_file_of_another_version_or_machine_or_with_impossible_rates_is_as_good_as_none(change, reason):
    put(json.dumps(document() | change).encode())
    assert rates.rates() == rates.defaults()
    assert reason in rates.in_use().origin


def test_a_file_that_others_may_write_is_not_read():
    os.chmod(rates.keep(MEASURED), 0o666)
    assert rates.rates() == rates.defaults()
    assert "only this user may write" in rates.in_use().origin


def test_neither_a_pipe_nor_a_large_file_is_read():
    rates.keep(MEASURED)
    put(b" " * (1 << 20))
    assert rates.rates() == rates.defaults()
    os.unlink(rates.file_path())
    os.mkfifo(rates.file_path())
    start_again()
    assert rates.rates() == rates.defaults()


def test_a_directory_that_cannot_be_made_is_an_error_of_the_command(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    start_again()
    assert rates.rates() == rates.defaults()
    with pytest.raises(SystemExit) as stop:
        main(["calibrate"])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "XDG_CACHE_HOME" in captured.err


def test_writers_at_once_leave_one_whole_file(tmp_path):
    """Readers meanwhile see one of the files."""
    written = [MEASURED._replace(wake=(1 + number) * 1e-6) for number in range(4)]
    rates.keep(written[0])
    seen, done = [], threading.Event()

    def write(own):
        for _ in range(50):
            rates.keep(own)

    def read():
        while not done.is_set():
            with open(rates.file_path(), "rb") as file:
                seen.append(rates.parse(file.read()))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(own,)) for own in written]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert seen
    assert set(seen) <= set(written)
    assert [path.name for path in (tmp_path / "fastconv").iterdir()] == [os.path.basename(rates.file_path())]


# The price of a layer's strategies follows the rate that bounds them.
LAYER = ConvGeometry.parse("ic64 oc64 i56 k3 p1").as_2d()


def test_plans_follow_the_file():
    default = planner.plan(LAYER, FLOAT32, threads=2)
    rates.keep(REFERENCE._replace(float32=50e9, wake=1e-3))
    start_again()
    slower = planner.plan(LAYER, FLOAT32, threads=2)
    assert slower.seconds > default.seconds
    assert (default.threads, slower.threads) == (2, 1)
    # Winograd's algorithm multiplies less and copies more.
    rates.keep(REFERENCE._replace(l2=4e8, l3=4e8))
    start_again()
    assert default.strategy.name.startswith("winograd")
    assert planner.plan(LAYER, FLOAT32).strategy.name == "implicit"


@pytest.mark.parametrize("descriptor", calibration.LAYERS.values())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_strategy_never_costs_less_on_a_slower_machine(descriptor, dtype):
    g, dtype = ConvGeometry.parse(descriptor).as_2d(), np.dtype(dtype)
    usual = rates.defaults()
    slower = Rates(*(rate / 2 for rate in usual[:5]), wake=2 * usual.wake)
    for strategy in STRATEGIES:
        if strategy.refuse(g, dtype) is None:
            cost, least, first = strategy.cost(g, dtype), strategy.least_cost(g, dtype), strategy.prepare_cost(g, dtype)
            with rates.substituted(slower):
                assert cost <= strategy.cost(g, dtype) <= 2 * cost
                assert first <= strategy.prepare_cost(g, dtype) <= 2 * first
                assert least <= strategy.least_cost(g, dtype) <= strategy.cost(g, dtype)


def test_a_strategy_computes_the_same_with_any_rates():
    import fastconv

    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 3, 40, 50), np.float32), rng.standard_normal((4, 3, 7, 7), np.float32)
    names = [s.name for s in STRATEGIES if s.refuse(ConvGeometry.from_shapes(x.shape, weight.shape), FLOAT32) is None]
    assert len(names) > 4
    first = [fastconv.prepare_conv2d(weight, strategy=name)(x) for name in names]
    rates.keep(REFERENCE._replace(l2=1e9, float32=1e12))
    code = (
        "import sys, numpy as np, fastconv\n"
        "rng = np.random.default_rng(0)\n"
        "x, weight = rng.standard_normal((1, 3, 40, 50), np.float32), rng.standard_normal((4, 3, 7, 7), np.float32)\n"
        "outs = [fastconv.prepare_conv2d(weight, strategy=name)(x) for name in sys.argv[1:]]\n"
        "assert fastconv.engine.rates.rates().l2 == 1e9\n"
        "sys.stdout.buffer.write(np.stack(outs).tobytes())\n"
    )
    found = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, check=True).stdout
    assert found == np.stack(first).tobytes()


def test_import_does_not_read_the_file(monkeypatch):
    """A bad setting is reported by the first plan, and a good one is read then."""
    code = "import fastconv\nprint('imported')\nfastconv.plan_conv2d((1, 1, 8, 8), (1, 1, 3, 3))"
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"FASTCONV_RATES": "x"}, capture_output=True, text=True
    )
    assert found.stdout == "imported\n"
    assert found.stderr.endswith("ValueError: FASTCONV_RATES='x': expected 'default', or nothing\n")


def test_command_prints_rates_and_regrets_and_keeps_the_file(capsys, monkeypatch):
    monkeypatch.setattr(calibration, "_ROUNDS", 1)
    monkeypatch.setattr(calibration, "LAYERS", {"small": "ic2 oc3 i12 k3 p1", "1x1": "ic8 oc8 i7 k1"})
    assert main(["calibrate"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0].split() == ["rate", "of", "one", "core", "default", "measured"]
    usual = rates.defaults()
    for label, rate, unit in (
        ("multiply-adds, float32", usual.float32, "GFLOP/s"),
        ("copies in memory", usual.memory, "GB/s"),
    ):
        assert any(line.startswith(label) and f"{rate / 1e9:.0f} {unit}" in line for line in lines)
    (small,) = (line for line in lines if line.startswith("small"))
    assert sum(name in small for name in BY_NAME) >= 1
    for label in ("geometric mean", "worst"):
        (line,) = (line for line in lines if line.startswith(label))
        assert all(float(ratio) >= 1 for ratio in line.removeprefix(label).split())
    assert max(map(len, lines[:-1])) <= 80
    assert lines[-1] == f"kept in {rates.file_path()}"
    with open(rates.file_path(), "rb") as file:
        rates.parse(file.read())


def test_info_says_which_rates_are_in_use(capsys):
    assert main(["info"]) == 0
    assert re.search(
        r"^rates +default; fastconv calibrate measures those of this machine$", capsys.readouterr().out, re.M
    )
