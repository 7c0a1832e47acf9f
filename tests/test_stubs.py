"""The stubs of compiled modules say what the modules hold: the same names, parameters and fields."""

import ast
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastconv

PACKAGE = Path(fastconv.__file__).parent
COMPILED = sorted(path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.pyi"))


def stub_of(path: Path) -> list[ast.stmt]:
    return ast.parse((PACKAGE / path).with_suffix(".pyi").read_text(encoding="utf-8")).body


def module_of(path: Path) -> ModuleType:
    return importlib.import_module(".".join(("fastconv", *path.parts)))


def defined(module: ModuleType) -> set[str]:
    """The public names of a module but those that it imports."""

    def imported(name: str, value: object) -> bool:
        origin = getattr(value, "__module__", None)
        return isinstance(value, ModuleType) or (
            origin != module.__name__ and getattr(sys.modules.get(origin or ""), name, None) is value
        )

    return {name for name, value in vars(module).items() if name[0] != "_" and not imported(name, value)}


def parameters(function: ast.FunctionDef) -> list[tuple[str, bool, bool]]:
    """Names of parameters, whether each has a default, and whether it is given by name only."""
    arguments = function.args
    positional = arguments.posonlyargs + arguments.args
    first = len(positional) - len(arguments.defaults)
    listed = [(argument.arg, at >= first, False) for at, argument in enumerate(positional)]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    listed += [(argument.arg, default is not None, True) for argument, default in named]
    return sorted(listed, key=lambda one: one[2])


def real_parameters(function: object) -> list[tuple[str, bool, bool]]:
    return [
        (one.name, one.default is not one.empty, one.kind is one.KEYWORD_ONLY)
        for one in inspect.signature(function).parameters.values()
        if one.kind is not one.VAR_POSITIONAL
    ]


def test_every_compiled_module_has_a_stub():
    sources = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.pyx")}
    assert sources <= set(COMPILED)
    assert len(COMPILED) >= 13


@pytest.mark.parametrize("path", COMPILED, ids=str)
def test_stubs_have_the_names_of_the_module(path):
    # Protocols and tuples that only describe are not in the module.
    module, names = module_of(path), set()
    for node in stub_of(path):
        if isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
        elif isinstance(node, ast.FunctionDef) or (isinstance(node, ast.ClassDef) and hasattr(module, node.name)):
            names.add(node.name)
    assert names == defined(module)


@pytest.mark.parametrize("path", COMPILED, ids=str)
def test_stubs_have_the_signatures_of_the_module(path):
    module = module_of(path)
    for node in stub_of(path):
        value = getattr(module, getattr(node, "name", ""), None)
        if isinstance(node, ast.FunctionDef):
            # What a cache wraps has the signature.
            assert parameters(node) == real_parameters(inspect.unwrap(value)), node.name
        elif isinstance(node, ast.ClassDef) and hasattr(value, "_fields"):
            assert tuple(field.target.id for field in node.body) == value._fields
