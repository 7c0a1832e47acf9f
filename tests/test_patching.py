"""Our functions in the place of SciPy's: whose they are, when, and for which arrays."""

import threading
from types import ModuleType

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import fastconv

MODULES = (scipy.ndimage, fastconv.ndimage), (scipy.signal, fastconv.signal)


def replaced():
    return [
        f"{theirs.__name__}.{name}"
        for theirs, ours in MODULES
        for name in ours.__all__
        if getattr(theirs, name).__module__ == "fastconv.patching"
    ]


def test_names_are_replaced_and_given_back():
    assert not replaced()
    with fastconv.patch(scipy=True):
        names = replaced()
        assert {"scipy.ndimage.gaussian_filter", "scipy.ndimage.median_filter", "scipy.signal.convolve2d"} <= set(names)
        assert "scipy.ndimage.generic_filter" not in names  # calls SciPy's
    assert not replaced()


def test_patches_nest_and_end_in_any_order():
    first, second = fastconv.patch(scipy=True), fastconv.patch(scipy=True)
    first.undo()
    first.undo()
    assert replaced()
    second.undo()
    assert not replaced()


def test_names_that_other_modules_bound():
    library = ModuleType("library")
    library.gaussian_filter, library.blur = scipy.ndimage.gaussian_filter, scipy.ndimage.uniform_filter
    library.generic_filter, library.table = scipy.ndimage.generic_filter, [1]
    before = dict(vars(library))
    with fastconv.patch(scipy=True):
        assert vars(library) == before
        first = fastconv.patch(scipy=True, modules=[library])
        second = fastconv.patch(scipy=True, modules=(library, library))
        first.undo()
        assert library.blur is scipy.ndimage.uniform_filter
        assert library.gaussian_filter.__module__ == "fastconv.patching"
        assert library.generic_filter is before["generic_filter"]
        second.undo()
        assert vars(library) == before
    with pytest.raises(TypeError, match=r"modules contains 'skimage': expected modules"):
        fastconv.patch(scipy=True, modules=["skimage"])
    assert not replaced()


def test_an_error_ends_the_patch():
    with pytest.raises(ZeroDivisionError), fastconv.patch(scipy=True):
        raise ZeroDivisionError
    assert not replaced()


def test_nothing_to_replace():
    with pytest.raises(ValueError, match="scipy=False: nothing to replace"):
        fastconv.patch()


def test_results_are_those_of_our_functions():
    image = np.random.default_rng(0).integers(0, 256, (50, 60), np.uint8)
    expected = fastconv.ndimage.gaussian_filter(image, 2), fastconv.signal.convolve2d(image, np.ones((3, 3)))
    with fastconv.patch(scipy=True):
        np.testing.assert_array_equal(scipy.ndimage.gaussian_filter(image, sigma=2), expected[0])
        np.testing.assert_array_equal(scipy.signal.convolve2d(image, in2=np.ones((3, 3))), expected[1])
        generic = scipy.ndimage.generic_filter(image, np.max, 3)
        np.testing.assert_array_equal(generic, scipy.ndimage.maximum_filter(image, 3))
        assert fastconv.ndimage.generic_filter(image, np.max, 3).sum() == generic.sum()


def test_masked_arrays_are_scipys():
    masked = np.ma.masked_less(np.arange(30.0).reshape(5, 6), 7)
    expected = scipy.ndimage.uniform_filter(masked, 3)
    with fastconv.patch(scipy=True):
        np.testing.assert_array_equal(scipy.ndimage.uniform_filter(masked, 3), expected)
        np.testing.assert_array_equal(scipy.ndimage.uniform_filter(input=masked, size=3), expected)


def test_threads_may_enter_at_once():
    def enter(times):
        for _ in range(times):
            with fastconv.patch(scipy=True):
                assert replaced()

    threads = [threading.Thread(target=enter, args=(50,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not replaced()
