"""Puts fastconv's functions in the place of SciPy's in a module of SciPy's tests.

Every test must call fastconv at least once, or it would prove nothing: tests of other functions are excluded by name.
"""

import functools
import re

import pytest


class Replacements:
    """The functions `names` of SciPy's modules, each with its replacement from fastconv; calls are counted."""

    def __init__(self, modules, ours, names, about_others=r"(?!)"):
        self.modules = modules
        self.about_others = about_others
        self.calls = 0
        self.by_name = {name: self._counted(getattr(ours, name)) for name in names}
        self.of = {getattr(modules[0], name): function for name, function in self.by_name.items()}

    def _counted(self, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            self.calls += 1
            return function(*args, **kwargs)

        return call

    def adopt(self, suite, tests):
        """The named classes and functions of `suite` that do not test other functions, by name."""
        adopted = {}
        for name in tests:
            test = getattr(suite, name)
            if isinstance(test, type):
                own = {k: v for k, v in vars(test).items() if not k.startswith("__")}
                kept = {k: v for k, v in own.items() if not (k.startswith("test") and re.search(self.about_others, k))}
                test = type(name, test.__bases__, kept | {"pytestmark": getattr(test, "pytestmark", [])})
                for method in kept.values():
                    self._replace_parameters(method)
            elif re.search(self.about_others, name):
                continue
            self._replace_parameters(test)
            adopted[name] = test
        return adopted

    def _replace_parameters(self, test):
        """Replace functions in parametrisations, which hold them by value, out of reach of a patched name."""
        marks = getattr(test, "pytestmark", [])
        for index, mark in enumerate(marks):
            if mark.name == "parametrize":
                names, values, *rest = mark.args
                replaced = [self._replaced(value) for value in values]
                replaced = [value for value in replaced if value is not None]
                marks[index] = pytest.mark.parametrize(names, replaced, *rest, **mark.kwargs).mark

    def _replaced(self, value):
        """`value` with fastconv's functions, or ``None`` if it contains a function that has no replacement."""
        if isinstance(value, (tuple, list)):
            parts = value.values if hasattr(value, "values") else value  # of a pytest.param
            replaced = [self._replaced(part) for part in parts]
            if any(new is None and old is not None for new, old in zip(replaced, parts, strict=True)):
                return None
            return value._replace(values=tuple(replaced)) if hasattr(value, "values") else type(value)(replaced)
        if callable(value) and re.search(self.about_others, getattr(value, "__name__", "")):
            return None
        return self.of.get(value, value) if callable(value) else value

    def patched(self, request, monkeypatch, suite, not_run=()):
        """Run a test with the names replaced, in the suite as well, and check that it calls fastconv."""
        name = request.node.originalname
        if name in not_run:
            pytest.skip(not_run[name])
        for module in (suite, *self.modules):
            for function, replacement in self.by_name.items():
                monkeypatch.setattr(module, function, replacement, raising=False)
        before = self.calls
        yield
        assert self.calls > before, "fastconv was not called"
