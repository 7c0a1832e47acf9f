"""SciPy's functions, replaced by ours while a patch is in force: for libraries that call ``scipy.ndimage``."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from fastconv import ndimage, signal
from fastconv.ndimage import callables

__all__ = ["Patch", "patch"]

_lock = threading.Lock()
_originals: list[tuple[ModuleType, str, Any]] = []
_in_force = 0

# What names of other modules were bound to, and how many patches replace each.
_bound: dict[tuple[ModuleType, str], tuple[Any, int]] = {}


class Patch:
    """SciPy's functions are replaced until `undo`, or until the ``with`` block ends. Made by `patch`."""

    def __init__(self, modules: tuple[ModuleType, ...] = ()) -> None:
        self._names = _enter(modules)
        self._is_in_force = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()

    def undo(self) -> None:
        """Give SciPy its functions back, unless another patch is in force. A second call does nothing."""
        with _lock:
            was_in_force, self._is_in_force = self._is_in_force, False
        if was_in_force:
            _leave(self._names)


def patch(*, scipy: bool = False, modules: Iterable[ModuleType] = ()) -> Patch:
    """Put our functions in the place of SciPy's that have the same name, so that other libraries call ours.

    Libraries that look functions up when they call them, as scikit-image does (``from scipy import ndimage as ndi`` and
    then ``ndi.gaussian_filter(…)``), are faster without a change. What was imported with ``from scipy.ndimage import
    gaussian_filter`` before the patch stays SciPy's, unless it belongs to one of the `modules`.

    Parameters
    ----------
    scipy : bool
        Whether to replace functions of ``scipy.ndimage`` and ``scipy.signal``: all that ``fastconv.ndimage`` and
        ``fastconv.signal`` have, but for filters by functions of the caller, which are SciPy's in any case.
    modules : iterable of module
        Modules whose names were bound to SciPy's functions before: they get ours as well. One of them is
        ``skimage.metrics._structural_similarity``.

    Returns
    -------
    Patch
        A context manager. Without ``with``, the patch stays in force until its method ``undo`` is called.

    Raises
    ------
    ValueError
        Nothing is to be replaced.
    TypeError
        One of the `modules` is no module.

    Notes
    -----
    The patch holds for the whole process and all of its threads. Any number of patches may be in force at a time: SciPy
    has its functions back when the last of them ends. Masked arrays, and arrays of other libraries, still go to SciPy's
    functions. Results may differ from SciPy's as docs/scipy.md says.

    Examples
    --------
    >>> import numpy as np, scipy.ndimage, fastconv
    >>> with fastconv.patch(scipy=True):
    ...     scipy.ndimage.maximum_filter.__module__
    'fastconv.patching'
    >>> scipy.ndimage.maximum_filter.__module__.split(".")[0]
    'scipy'
    """
    if not scipy:
        raise ValueError(f"scipy={scipy!r}: nothing to replace, expected True")
    chosen = tuple(modules)
    for module in chosen:
        if not isinstance(module, ModuleType):
            raise TypeError(f"modules contains {module!r}: expected modules, such as sys.modules['skimage.metrics']")
    return Patch(chosen)


def _enter(modules: tuple[ModuleType, ...]) -> list[tuple[ModuleType, str]]:
    """Put a patch in force, and return the names of `modules` that it replaces."""
    global _in_force
    import scipy.ndimage
    import scipy.signal

    with _lock:
        if not _in_force:
            for theirs, ours in ((scipy.ndimage, ndimage), (scipy.signal, signal)):
                for name in ours.__all__:
                    function, original = getattr(ours, name), getattr(theirs, name, None)
                    if original is not None and function.__module__ != callables.__name__:
                        _originals.append((theirs, name, original))
                        setattr(theirs, name, _replacement(function, original))
        _in_force += 1
        return _bind(modules)


def _bind(modules: tuple[ModuleType, ...]) -> list[tuple[ModuleType, str]]:
    replacements = {id(original): (original, getattr(theirs, name)) for theirs, name, original in _originals}
    names = []
    for module in modules:
        for name, value in list(vars(module).items()):
            original, replacement = replacements.get(id(value), (None, None))
            original, patches = _bound.get((module, name), (original, 0))
            if original is None:
                continue
            if not patches:
                setattr(module, name, replacement)
            _bound[module, name] = original, patches + 1
            names.append((module, name))
    return names


def _leave(names: list[tuple[ModuleType, str]]) -> None:
    global _in_force
    with _lock:
        for module, name in names:
            original, patches = _bound.pop((module, name))
            if patches > 1:
                _bound[module, name] = original, patches - 1
            else:
                setattr(module, name, original)
        _in_force -= 1
        if not _in_force:
            while _originals:
                module, name, original = _originals.pop()
                setattr(module, name, original)


def _replacement(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Our function, or SciPy's for arrays that only SciPy takes."""

    @functools.wraps(ours)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        if any(map(_is_foreign, args)) or any(map(_is_foreign, kwargs.values())):
            return theirs(*args, **kwargs)
        return ours(*args, **kwargs)

    replacement.__module__ = __name__
    return replacement


def _is_foreign(value: object) -> bool:
    """Whether a value is a masked array, or an array of another library."""
    if type(value) is np.ndarray:
        return False
    return isinstance(value, np.ma.MaskedArray) or (
        hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray | np.generic)
    )
