"""What README.md and docs/ say is so: examples run, commands print what is shown, names and links exist."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FUNCTIONS = (ROOT / "docs/functions.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language, page=README):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def test_example_runs(monkeypatch, capsys):
    # Every strategy on the whole image would take half a minute, and test_compare.py runs them all.
    def compare_conv2d(x, weight, **options):
        return compare(x[..., :32, :32], weight, **options, strategies=["implicit"], repeats=1)

    compare = fastconv.compare_conv2d
    monkeypatch.setattr(fastconv, "compare_conv2d", compare_conv2d)
    (example,) = blocks("python")
    names = {}
    exec(example, names)
    assert names["y"].shape == (1, 64, 224, 224)
    assert names["columns"].shape == eval(re.search(r"columns = .*# (.*)", example)[1])
    assert names["p"].sum() == pytest.approx(1)
    image = np.ones((1, 3, 32, 32), np.float32)
    product = names["matrix"] @ image.ravel()
    expected = fastconv.conv2d(image, names["weight"][:1])
    np.testing.assert_allclose(product, expected.ravel(), atol=1e-5)
    assert re.search(r"^Plan for n1 ic3 oc64 ih224 iw224 kh3 kw3 s1 p1", capsys.readouterr().out, re.MULTILINE)


def test_example_of_networks_runs():
    first, *others = blocks("python", (ROOT / "docs/networks.md").read_text(encoding="utf-8"))
    names = {}
    exec(first, names)
    assert names["y"].shape == eval(re.search(r"y = .*# (.*)", first)[1])
    for example in others:
        exec(example, names)
    assert names["loss"] > 0


def test_help_is_as_printed(capsys):
    main([])
    assert f"$ fastconv\n{capsys.readouterr().out}" in blocks("")


def test_report_has_the_form_that_is_printed():
    page = (ROOT / "docs/accuracy.md").read_text(encoding="utf-8")
    (shown,) = (block.splitlines() for block in blocks("", page) if block.startswith("VGG-like layer"))
    assert max(map(len, shown)) <= 80
    report = fastconv.compare_conv2d(
        np.ones((1, 1, 9, 9), np.float32), np.ones((1, 1, 3, 3)), strategies=["toeplitz"], max_workspace=0, repeats=1
    )
    printed = str(report).splitlines()
    assert shown[4] == printed[2]
    for line in (6, 7):
        assert shown[line].split() == printed[line - 2].split()


def test_table_of_functions_is_complete():
    found = {}
    for module, names in re.findall(r"^\|[^|]*\| `([\w.]+)` \|(.*)\|$", FUNCTIONS, re.MULTILINE):
        listed = found.setdefault(module, set())
        # A name that begins with the package's refers to another module.
        listed |= {name for name in re.findall(r"`([\w.]+)`", names) if not name.startswith("fastconv")}
    assert set(found) == {f"fastconv{room}" for room in ("", ".nn", ".grad", ".signal", ".ndimage", ".networks")}
    for module, names in found.items():
        room = fastconv if module == "fastconv" else getattr(fastconv, module.removeprefix("fastconv."))
        assert all(callable(getattr(room, name)) for name in names), module
    functions = {name for name in fastconv.__all__ if callable(getattr(fastconv, name)) and name[0].islower()}
    assert found["fastconv"] == functions
    for room in (fastconv.signal, fastconv.ndimage):
        assert found[room.__name__] == set(room.__all__)
    layers = {name for name, value in vars(fastconv.nn).items() if inspect.isfunction(value)}
    assert found["fastconv.nn"] == layers - functions


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_targets_of_make_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)) <= targets
