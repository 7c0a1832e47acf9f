"""Every example of every docstring is right, and every public function has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import fastconv
import fastconv.kernels.threads

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastconv.__path__, "fastconv.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_compiled_modules_are_read_too():
    assert doctest.testmod(fastconv.kernels.threads).attempted > 0


@pytest.mark.parametrize(
    "name", sorted(name for name in fastconv.__all__ if inspect.isroutine(getattr(fastconv, name)))
)
def test_public_docstrings(name):
    assert ">>>" in getattr(fastconv, name).__doc__, f"{name} has no example"
