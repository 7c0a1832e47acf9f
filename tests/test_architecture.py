"""The import rule, read from every `import` and `cimport`; and what an import of fastconv may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastconv
from fastconv.engine.convolution import BY_NAME, STRATEGIES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/fastconv"  # a wheel holds no .pyx

# A room may import what is on the floors below it, and itself. Rooms on one floor do not know each other.
FLOORS = (
    ("kernels",),
    ("errors",),
    ("engine.remembering", "engine.replay", "engine.rounding", "engine.timing"),
    ("engine.boundary", "engine.rates"),
    ("engine.extension", "engine.geometry"),
    ("engine.arrays", "engine.epilogue", "engine.launch"),
    ("engine.conversion", "engine.patches", "engine.plan", "engine.selection"),
    ("engine.products",),
    ("engine.along", "engine.convolution", "engine.storing"),
    ("engine.convolution3d", "engine.fills", "engine.planner"),
    ("engine.ordered",),
    (
        *("engine.correlation", "engine.gradients", "engine.passes", "engine.polyphase", "engine.pooling"),
        *("engine.ranks", "engine.windows"),
    ),
    ("nn", "signal", "ndimage", "receptive"),
    ("grad", "graph", "patching"),
    ("networks", "onnx"),
    ("training",),
    ("lab",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

SOURCES = sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".pyx", ".pxd", ".pxi"))


def room(dotted: str) -> str:
    """The room of a module or of a name in it; ``fastconv`` itself is ``__init__``."""
    parts = dotted.split(".")[1:]
    return next((name for name in (".".join(parts[:2]), *parts[:1]) if name in FLOOR), "__init__")


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports, anywhere in it."""
    source = path.read_text(encoding="utf-8")
    modules = []
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                modules += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                # `from fastconv import planner` imports a module, `from fastconv import conv2d` the package.
                modules += [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        for origin, names in re.findall(r"^\s*from\s+([\w.]+)\s+c?import\s+\(?([\w ,]+)", source, re.MULTILINE):
            modules += [f"{origin}.{name.split()[0]}" for name in names.split(",") if name.strip()]
        modules += re.findall(r"^\s*c?import\s+([\w.]+)", source, re.MULTILINE)
    return {room(module) for module in modules if module.split(".")[0] == "fastconv"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_import_rule(path):
    relative = path.relative_to(PACKAGE)
    if relative.parts == ("engine", "__init__.py"):
        assert not imported_rooms(path)
        return
    here = room(".".join(("fastconv", *relative.with_suffix("").parts)))
    assert here != "__init__" or relative.stem == "__init__", f"{relative}: a new module needs its floor in this test"
    above = {name for name in imported_rooms(path) if name != here and FLOOR[name] >= FLOOR[here]}
    assert not above, f"{relative} imports {above}"


def test_the_rule_is_read_from_something():
    assert imported_rooms(PACKAGE / "engine/planner.py") >= {"engine.geometry", "engine.convolution", "engine.plan"}
    assert imported_rooms(PACKAGE / "kernels/lowering.pyx") == {"kernels"}
    assert "kernels" in imported_rooms(PACKAGE / "engine/convolution/im2col.py")  # inside a function


def test_only_threads_opens_parallel_regions():
    for path in SOURCES:
        if path.name != "threads.pyx":
            source = path.read_text(encoding="utf-8")
            assert not re.search(r"\bprange\b|cython\.parallel|parallel=True|ThreadPool|omp parallel", source), path


def test_import_loads_only_what_every_call_needs():
    code = "import sys, fastconv; print(*sys.modules); fastconv.networks.build, fastconv.training.Adam"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "fastconv" in loaded
    assert not {"numba", "llvmlite", "scipy", "matplotlib", "PIL"} & {name.split(".")[0] for name in loaded}
    assert not {"fastconv.networks", "fastconv.training", "numpy.random", "zipfile"} & set(loaded)


def test_strategies_are_distinct_and_the_reference_is_last():
    assert len(BY_NAME) == len(STRATEGIES)
    assert STRATEGIES[-1].name == "reference"
    assert fastconv.strategies() == tuple(BY_NAME)


def test_each_strategy_is_one_file_of_its_name():  # but for the size of its tiles
    for strategy in STRATEGIES:
        module = type(strategy).__module__
        assert module == f"fastconv.engine.convolution.{strategy.name.rstrip('0123456789')}"


@pytest.mark.parametrize("name", sorted(fastconv.__all__))
def test_public_names_exist_and_are_documented(name):
    assert getattr(fastconv, name).__doc__


def test_all_is_sorted_and_complete():
    public = {
        name
        for name, value in vars(fastconv).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("fastconv")
    }
    assert public <= set(fastconv.__all__)
    assert list(fastconv.__all__) == sorted(fastconv.__all__)


def test_linters_are_pinned_once():
    """The same versions for commits, for `make lint` and for developers."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    pins = {f"{name}=={version}" for name, version in re.findall(r"/(ruff|cython-lint).*\n +rev: v(\S+)", hooks)}
    texts = [(ROOT / name).read_text() for name in ("Makefile", "pyproject.toml")]
    for text in texts:
        assert set(re.findall(r"(?:ruff|cython-lint)==[\d.]+", text)) == pins
    assert len({tuple(re.findall(r"mypy==[\d.]+", text)) for text in texts}) == 1
