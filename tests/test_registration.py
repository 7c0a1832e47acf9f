"""Strategies of other packages: that of docs/strategies.md."""

import re
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv.engine import planner
from fastconv.engine.convolution import BY_NAME, STRATEGIES

PAGE = Path(__file__).parents[1] / "docs/strategies.md"


@pytest.fixture
def shown(capsys):
    """What the page's example defines, and what it prints."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    exec(code, names)
    yield names, capsys.readouterr().out
    if "shifted_sums" in BY_NAME:
        fastconv.unregister("shifted_sums")


def test_the_page_shows_what_it_says(shown):
    _, printed = shown
    assert printed.startswith("9.0\n")
    assert "shifted_sums" in printed
    assert fastconv.strategies()[-2:] == ("shifted_sums", "reference")


@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_registered_strategy_computes(shown, activation):
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape) for shape in ((2, 1, 12, 9), (1, 1, 3, 4), (1,)))
    options = {"padding": ((1, 2), (0, 3)), "activation": activation}
    expected = fastconv.conv2d(x, weight, bias, **options, strategy="reference")
    for _ in range(4):
        x += 1
        expected = fastconv.conv2d(x, weight, bias, **options, strategy="reference")
        found = fastconv.conv2d(x, weight, bias, **options, strategy="shifted_sums")
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_its_cost_counts(shown):
    shape = (1, 1, 30, 30), (1, 1, 3, 3)
    assert fastconv.plan_conv2d(*shape).strategy.name != "shifted_sums"
    fastconv.unregister("shifted_sums")
    cheap = shown[0]["ShiftedSums"]()
    cheap.cost = lambda geometry, dtype: 0.0
    fastconv.register(cheap)
    assert fastconv.plan_conv2d(*shape).strategy.name == "shifted_sums"


def test_its_refusal_is_shown(shown):
    with pytest.raises(fastconv.UnsupportedError, match="filters one channel, at stride and dilation 1"):
        fastconv.conv2d(np.ones((1, 1, 9, 9)), np.ones((1, 1, 3, 3)), stride=2, strategy="shifted_sums")


def test_what_is_no_strategy_is_refused(shown):
    before = list(STRATEGIES)
    with pytest.raises(TypeError, match="it lacks name, local, componentwise"):
        fastconv.register(object())
    with pytest.raises(ValueError, match=r"strategy\.name='shifted_sums': expected an identifier that no other"):
        fastconv.register(shown[0]["ShiftedSums"]())
    assert before == STRATEGIES


def test_it_leaves_no_trace(shown):
    fastconv.unregister("shifted_sums")
    assert "shifted_sums" not in fastconv.strategies()
    with pytest.raises(ValueError, match="strategy='shifted_sums'"):
        planner.checked_strategy("shifted_sums")
    with pytest.raises(ValueError, match="name='shifted_sums': expected one of the registered strategies"):
        fastconv.unregister("shifted_sums")
