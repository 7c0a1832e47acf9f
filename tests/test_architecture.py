"""The import rule, read from every `import` and `cimport`; and what an import of fastconv may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastconv
from fastconv.strategies import BY_NAME, STRATEGIES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/fastconv"  # a wheel holds no .pyx

BASE = {"errors", "geometry", "epilogue", "arrays", "continuation", "rates", "recordings", "remembering", "replay"}
TOOLS = {"timing", "photograph", "chart"}
ENTRANCES = {
    "functional",
    "correlation",
    "signal",
    "ndimage",
    "nn",
    "layer_grad",
    "grad",
    "prepared",
    "lowering",
    "compare",
}

# What a module, or a whole subpackage, may import of fastconv; `kernels` and `threads` know nothing above them.
MAY_IMPORT = {
    "errors": set(),
    "geometry": {"errors"},
    "receptive": {"errors", "geometry"},
    "networks": {"geometry", "receptive"},
    "epilogue": {"errors", "geometry"},
    "arrays": {"errors", "geometry"},
    "continuation": {"remembering"},
    "remembering": set(),
    "rates": {"kernels", "remembering"},
    "threads": {"threads"},
    "recordings": {"threads"},
    "replay": {"recordings"},
    "conversion": {"arrays", "kernels", "threads"},
    "patches": {"continuation", "geometry", "kernels", "remembering", "replay", "threads"},
    "timing": set(),
    "photograph": set(),
    "chart": {"plan"},
    "kernels": {"kernels"},
    "plan": {"errors", "geometry"},
    "strategies": BASE | {"strategies", "kernels", "threads"},
    "pool_plan": BASE | {"kernels", "threads"},
    "volume": BASE | {"plan", "planner", "pool_plan", "patches", "kernels", "threads"},
    "adjoint": BASE | {"plan", "planner", "volume", "strategies", "kernels", "threads"},
    "planner": BASE | {"plan", "strategies", "kernels", "threads", "timing"},
    **dict.fromkeys(
        ENTRANCES,
        BASE
        | TOOLS
        | {
            "plan",
            "planner",
            "pool_plan",
            "volume",
            "adjoint",
            "conversion",
            "patches",
            "strategies",
            "kernels",
            "threads",
        }
        | ENTRANCES,
    ),
    "calibration": BASE | {"plan", "planner", "strategies", "kernels", "threads"},
    "cli": BASE
    | TOOLS
    | {"calibration", "receptive", "networks", "plan", "planner", "strategies", "kernels", "threads", "cli", ""}
    | ENTRANCES,
}
MAY_IMPORT["__init__"] = MAY_IMPORT["__main__"] = MAY_IMPORT["cli"]

SOURCES = sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".pyx", ".pxd", ".pxi"))


def layer(dotted: str) -> str:
    """``fastconv.kernels.jit`` belongs to ``kernels``; ``fastconv`` itself to ``""``."""
    return [*dotted.split("."), ""][1]


def imported_layers(path: Path) -> set[str]:
    """The layers that a file imports, anywhere in it."""
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
    of_fastconv = {layer(module) for module in modules if module.split(".")[0] == "fastconv"}
    return {name if name in MAY_IMPORT else "" for name in of_fastconv}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_import_rule(path):
    relative = path.relative_to(PACKAGE)
    here = relative.parts[0] if len(relative.parts) > 1 else relative.stem
    assert here in MAY_IMPORT, f"{relative}: a new module needs its layer in this test"
    forbidden = imported_layers(path) - MAY_IMPORT[here]
    assert not forbidden, f"{relative} imports {forbidden}"


def test_the_rule_is_read_from_something():
    assert imported_layers(PACKAGE / "planner.py") >= {"geometry", "strategies", "plan"}
    assert imported_layers(PACKAGE / "kernels" / "lowering.pyx") == {"kernels"}
    assert "kernels" in imported_layers(PACKAGE / "strategies" / "im2col.py")  # inside a function


def test_only_threads_opens_parallel_regions():
    for path in SOURCES:
        if path.name != "threads.pyx":
            source = path.read_text(encoding="utf-8")
            assert not re.search(r"\bprange\b|cython\.parallel|parallel=True|ThreadPool|omp parallel", source), path


def test_import_loads_neither_numba_nor_scipy():
    code = "import sys, fastconv; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "fastconv" in loaded
    assert not {"numba", "llvmlite", "scipy", "matplotlib", "PIL"} & set(loaded)


def test_strategies_are_distinct_and_the_reference_is_last():
    assert len(BY_NAME) == len(STRATEGIES)
    assert STRATEGIES[-1].name == "reference"
    assert fastconv.strategies() == tuple(BY_NAME)


def test_each_strategy_is_one_file_of_its_name():  # but for the size of its tiles
    for strategy in STRATEGIES:
        module = type(strategy).__module__
        assert module == f"fastconv.strategies.{strategy.name.rstrip('0123456789')}"


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
