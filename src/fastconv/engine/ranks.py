"""The value of one rank in each window: the median, percentiles, and others.

Small windows are computed by networks of comparisons (selection.py), larger ones from histograms that slide along rows.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.arrays import as_contiguous, is_target
from fastconv.engine.boundary import continued, source_indices
from fastconv.engine.conversion import scratch_like
from fastconv.engine.fills import as_fill, native
from fastconv.engine.launch import Launch
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, repeatable, unrepeatable
from fastconv.engine.selection import IN_REGISTERS, Program, network_of_box, network_of_runs, network_of_taps
from fastconv.engine.storing import store
from fastconv.kernels import threads as team

# The most taps of networks in planes, by bytes of a value. Longer ones take longer than histograms.
_MOST_TAPS = {1: 81, 2: 121, 4: 121, 8: 121}
_MOST_TAPS_OF_VOLUMES = 343

# Of histograms: columns of a tile of bytes whose own histograms fit L2, rows and columns that a tile of others sees,
# and the most values of a window that are counted in 16 bits.
_FITTING_COLUMNS, _FITTING_SIDE, _MOST_COUNTED = 400, 256, (1 << 16) - 1

# The rows of the smallest boxes of which two are computed together.
_LEAST_PAIRED = 4

# The windows whose median has a kernel of its own, and bytes of a line of it, a few of which fit L1.
_MEDIANS = {((3, 3), 4), ((5, 5), 12)}
_FITTING_LINE = 8 << 10

# Bytes of rows that fit L2 while the extremes of a footprint are computed, and the most of them.
_FITTING_FOOTPRINT, _MOST_OF_FOOTPRINT = 128 << 10, 4 << 20

# The most values that a tile may see: their places are 32-bit integers.
_MOST_SEEN = 1 << 28

# Bytes of slots that a network works in at a time, which fit L2, and the fewest and most outputs of a block. With slots
# that fit L1, reading the instructions of large networks takes longer than following them.
_FITTING, _FEWEST, _MOST = 128 << 10, 64, 4096

# Bytes of rows that are gathered, and those read and written between two checks whether to stop.
_MOST_GATHERED, _STEPS_BETWEEN_CHECKS = 4 << 20, 1 << 22


class Ranked(NamedTuple):
    """Which value of which windows: a value itself, so that it can be the key of a cache."""

    rank: int
    shape: tuple[int, ...]
    """Extents of the window."""
    begins: tuple[int, ...]
    """Along each axis, samples of the window before the output's own."""
    modes: tuple[str, ...]
    footprint: bytes | None = None
    """Which values of the window count, as bools; None if all do."""


def store_ranked(array: np.ndarray, ranked: Ranked, cval: float, out: np.ndarray) -> np.ndarray:
    """Store the values of a rank in the type of `out`. NaN is the highest value of all, but the minimum, too."""
    fill = as_fill(cval if "constant" in ranked.modes else 0, array.dtype, exactly=array.dtype.char != out.dtype.char)
    if fill is None:
        # The constant is no value of that type: float64 holds both.
        unrepeatable()
        array = array.astype(np.float64)
        fill = as_fill(cval, array.dtype)
    assert fill is not None
    operand = as_contiguous(native(array))
    fits = array.dtype.char == out.dtype.char and is_target(out, array)
    result = out.view(operand.dtype) if fits else scratch_like(out, operand.dtype)
    run_ranked(ranked, operand, fill, result)
    if not fits:
        store(result.view(bool) if array.dtype.kind == "b" else result, out)
    return repeatable(out)


def run_ranked(ranked: Ranked, operand: np.ndarray, fill: np.ndarray, out: np.ndarray) -> None:
    """Store the values of a rank in an array of the operand's native type. NaN is the extreme of what contains one."""
    channels = _channels(ranked)
    if channels and not _is_median(ranked, channels):
        # Kernels slide windows along rows: channels become planes.
        unrepeatable()
        planes, results = (np.moveaxis(array, range(-channels, 0), range(channels)) for array in (operand, out))
        moved = ranked._replace(
            shape=(1,) * channels + ranked.shape[:-channels],
            begins=(0,) * channels + ranked.begins[:-channels],
            modes=ranked.modes[-channels:] + ranked.modes[:-channels],
        )
        run_ranked(moved, np.ascontiguousarray(planes), fill, values := np.empty(results.shape, out.dtype))
        results[...] = values
        return
    if not _run(ranked, operand, fill, out):
        unrepeatable()
        first = ranked.rank == 0
        keys, key, ranks = (
            as_keys(operand, first),
            as_keys(fill.reshape(1), first),
            np.empty(out.shape, f"i{out.itemsize}"),
        )
        _run(ranked, keys, key, ranks)
        out[...] = from_keys(ranks, out.dtype)


def _partition(ranked: Ranked, operand: np.ndarray, fill: np.ndarray, out: np.ndarray) -> None:
    """Large windows of more than two axes: row by row, all that its windows see."""
    shape = [n + k - 1 for n, k in zip(operand.shape, ranked.shape, strict=True)]
    padded = continued(operand, [-b for b in ranked.begins], shape, ranked.modes[0], fill)
    places = np.argwhere(_counts(ranked))
    for at in np.ndindex(operand.shape[:-1]):
        lines = [padded[tuple(at + place[:-1])][place[-1] :][: operand.shape[-1]] for place in places]
        out[at] = np.partition(lines, ranked.rank, axis=0)[ranked.rank]


def _channels(ranked: Ranked) -> int:
    """How many of the last axes windows of several others do not extend along."""
    long = [axis for axis, k in enumerate(ranked.shape) if k > 1]
    return len(ranked.shape) - 1 - long[-1] if len(long) > 1 else 0


def _is_median(ranked: Ranked, channels: int) -> bool:
    """Whether the windows of planes, each of whose values has so many axes of channels, are those of `medians`."""
    *others, kh, kw = ranked.shape[: len(ranked.shape) - channels]
    return ranked.footprint is None and ((kh, kw), ranked.rank) in _MEDIANS and all(k == 1 for k in others)


def _count(ranked: Ranked) -> int:
    """How many values of a window count."""
    return prod(ranked.shape) if ranked.footprint is None else ranked.footprint.count(1)


def _counts(ranked: Ranked) -> np.ndarray:
    """Which values of the window count."""
    if ranked.footprint is None:
        return np.ones(ranked.shape, bool)
    return np.frombuffer(ranked.footprint, bool).reshape(ranked.shape)


def _run(ranked: Ranked, operand: np.ndarray, fill: np.ndarray, out: np.ndarray) -> bool:
    """Run a kernel, and return whether it can order all values that it sees: networks cannot compare NaN."""
    threads = team.get_num_threads()
    taps = _count(ranked)
    if any(k > 1 for k in ranked.shape[:-2]) and taps > _MOST_TAPS_OF_VOLUMES and 0 < ranked.rank < taps - 1:
        unrepeatable()
        _partition(ranked, operand, fill, out)
        return True
    launch, compares = _launch(ranked, operand.shape, operand.dtype.char, threads)
    if not compares:
        launch.run((operand, out, fill), threads)
        return True
    flags = team.flags(threads) if operand.dtype.kind == "f" else None
    launch.run((operand, out, fill, flags), threads)
    return flags is None or not (any(flags.tolist()) or np.isnan(fill))


def as_keys(values: np.ndarray, nan_first: bool = False) -> np.ndarray:
    """Integers in the order of floating-point values, with NaN last, or first.

    Examples
    --------
    >>> as_keys(np.array([-np.inf, -1, 0, 1, np.inf, np.nan])).argsort().tolist()
    [0, 1, 2, 3, 4, 5]
    """
    nan = np.array(-np.nan if nan_first else np.nan, values.dtype)
    bits = np.where(np.isnan(values), nan, values).view(f"i{values.itemsize}")
    return np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)


def from_keys(keys: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The values of `as_keys`."""
    return np.where(keys < 0, keys ^ np.iinfo(keys.dtype).max, keys).view(dtype)


@remembered(256)
def _launch(ranked: Ranked, shape: tuple[int, ...], char: str, threads: int) -> tuple[Launch, bool]:
    """The launch, and whether it is that of a network, which cannot compare NaN."""
    dtype = np.dtype(char)
    is_plane = all(k == 1 for k in ranked.shape[:-2])
    taps = _count(ranked)
    is_extreme = ranked.rank in (0, taps - 1)
    channels = _channels(ranked)
    if len(shape) > 1 and _is_median(ranked, channels):
        return _medians(ranked, shape, channels, dtype, threads), True
    if not is_plane or (taps <= _MOST_TAPS[dtype.itemsize] and not is_extreme):
        return _network(ranked, shape, dtype), True
    if len(shape) == 1:
        shape = 1, *shape
        ranked = ranked._replace(
            shape=(1, *ranked.shape), begins=(0, *ranked.begins), modes=(ranked.modes[0], *ranked.modes)
        )
    if not is_extreme:
        return _histogram(ranked, shape, dtype, threads), False
    launch = _footprint(ranked, shape, dtype, threads)
    return (_network(ranked, shape, dtype), True) if launch is None else (launch, False)


def _maps(ranked: Ranked, shape: tuple[int, ...], channels: int = 0) -> list[np.ndarray]:
    """Where the rows and the columns that windows in planes see are read; -1 for the constant."""
    at = slice(len(shape) - channels - 2, len(shape) - channels)
    axes = zip(shape[at], ranked.shape[at], ranked.begins[at], ranked.modes[at], strict=True)
    return [constant(source_indices(-b, n + k - 1 - b, n, mode)) for n, k, b, mode in axes]


def _bands(rows: int, tiles: int, least: int, threads: int) -> int:
    """Rows of a tile, of which there are `tiles` side by side: rows above a band are read again."""
    bands = -(-2 * threads // tiles) if threads > 1 else 1
    return max(min(rows, least), -(-rows // bands))


def _medians(ranked: Ranked, shape: tuple[int, ...], channels: int, dtype: np.dtype, threads: int) -> Launch:
    """The launch for planes whose values have so many axes of channels, which are columns a step apart."""
    from fastconv.kernels.slots import arguments

    last = len(shape) - channels - 1
    step = prod(shape[last + 1 :])
    ih, iw, k = shape[last - 1], shape[last] * step, ranked.shape[last]
    across = -(-iw * dtype.itemsize // _FITTING_LINE)
    tiles = prod(shape[: last - 1]) * across
    rows, columns = _maps(ranked, shape, channels)
    if step > 1:
        places = columns[:, np.newaxis] * step + np.arange(step)
        columns = constant(np.where(columns[:, np.newaxis] < 0, -1, places).ravel())
    row_tile = _bands(ih, tiles, 4 * k, threads)
    down = -(-ih // row_tile)
    ints = arguments("medians")(
        ih=ih,
        iw=iw,
        k=k,
        step=step,
        pl=ranked.begins[last] * step,
        row_tile=row_tile,
        down=down,
        col_tile=-(-iw // across),
        across=across,
    )
    return Launch.of("medians", dtype, ints, tiles * down, tables=(rows, columns))


def _footprint(ranked: Ranked, shape: tuple[int, ...], dtype: np.dtype, threads: int) -> Launch | None:
    """The launch for the extreme of a footprint, unless its rows take too much memory."""
    from fastconv.kernels.slots import arguments, kernel

    (ih, iw), (kh, kw) = shape[-2:], ranked.shape[-2:]
    runs = _runs(_counts(ranked).reshape(kh, kw))
    lengths, steps = _lengths(runs[:, 2] - runs[:, 1])
    places = np.stack([runs[:, 0], np.searchsorted(lengths, runs[:, 2] - runs[:, 1]), runs[:, 1]], 1)
    # The first three runs are folded at once, then two more at a time; one may be repeated.
    places = np.pad(places, ((0, max(3 - len(places), 1 - len(places) % 2)), (0, 0)), mode="edge")
    lines = kh * len(lengths) * dtype.itemsize
    fitting = _FITTING_FOOTPRINT // lines - kw
    col_tile = min(iw, max(kw, _FEWEST // dtype.itemsize, fitting))
    if lines * (col_tile + kw) > _MOST_OF_FOOTPRINT:
        return None
    across = -(-iw // col_tile)
    tiles = prod(shape[:-2]) * across
    row_tile = _bands(ih, tiles, kh, threads)
    down = -(-ih // row_tile)
    ints = arguments("footprints")(
        size=dtype.itemsize,
        ih=ih,
        iw=iw,
        kh=kh,
        kw=kw,
        pl=ranked.begins[-1],
        lengths=len(lengths),
        runs=len(places),
        row_tile=row_tile,
        down=down,
        col_tile=-(-iw // across),
        across=across,
    )
    tables = (
        *_maps(ranked, shape),
        kernel("maximum" if ranked.rank else "minimum", dtype),
        constant(steps),
        constant(np.ascontiguousarray(places, np.int64)),
    )
    return Launch.of("footprints", dtype, ints, tiles * down, tables=tables)


def _lengths(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of runs, 1 and some in between included, and how each is folded from one before it.

    For each of them but 1: itself, the number of that one, and the shifts of its second and its third operand.

    Examples
    --------
    >>> _lengths(np.array([1, 5, 7]))
    (array([1, 3, 5, 7]), array([[3, 0, 1, 2],
           [5, 1, 2, 0],
           [7, 2, 2, 0]]))
    """
    lengths, steps = [1], []
    for length in sorted({*wanted.tolist()} - {1}):
        while lengths[-1] < length:
            last = lengths[-1]
            made = min(length, 3 * last)
            second, third = (made - last, 0) if made <= 2 * last else (last, made - last)
            steps.append((made, len(lengths) - 1, second, third))
            lengths.append(made)
    return np.array(lengths), np.array(steps, np.int64).reshape(-1, 4)


def _histogram(ranked: Ranked, shape: tuple[int, ...], dtype: np.dtype, threads: int) -> Launch:
    from fastconv.kernels.slots import arguments

    (ih, iw), (kh, kw) = shape[-2:], ranked.shape[-2:]
    planes = prod(shape[:-2])
    is_box = ranked.footprint is None
    by_columns = is_box and dtype.char == "B" and kh * kw <= _MOST_COUNTED
    if by_columns:
        row_tile, col_tile = ih, max(_FITTING_COLUMNS - kw + 1, kw)
    else:
        row_tile, col_tile = (max(_FITTING_SIDE - k + 1, k) for k in (kh, kw))
    row_tile, col_tile = min(row_tile, ih), min(col_tile, iw)
    if max(kh, kw, (row_tile + kh) * (col_tile + kw)) > _MOST_SEEN:
        raise MemoryError(f"a window of {kh} × {kw}: that is more than a histogram can hold")
    across = -(-iw // col_tile)
    row_tile = min(row_tile, _bands(ih, planes * across, kh, threads))
    down = -(-ih // row_tile)
    window = {"ih": ih, "iw": iw, "kh": kh, "kw": kw, "rank": ranked.rank}
    tiles = {"row_tile": -(-ih // down), "down": down, "col_tile": -(-iw // across), "across": across}
    maps = _maps(ranked, shape)
    if by_columns:
        ints = arguments("bytes")(**window, **tiles)
        return Launch.of("bytes", dtype, ints, planes * down * across, tables=(*maps,))
    runs = constant(_runs(_counts(ranked).reshape(kh, kw)))
    ints = arguments("sliding")(**window, runs=len(runs), **tiles)
    return Launch.of("sliding", dtype, ints, planes * down * across, tables=(*maps, runs))


def _runs(counts: np.ndarray) -> np.ndarray:
    """The runs of a footprint's rows: row, first column, and the column after the last.

    Examples
    --------
    >>> _runs(np.array([[1, 1, 0, 1], [0, 1, 1, 0]], bool)).tolist()
    [[0, 0, 2], [0, 3, 4], [1, 1, 3]]
    """
    steps = np.diff(np.pad(counts, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, begins = np.nonzero(steps > 0)
    return np.stack([rows, begins, np.nonzero(steps < 0)[1]], 1).astype(np.int64)


def _network(ranked: Ranked, shape: tuple[int, ...], dtype: np.dtype) -> Launch:
    from fastconv.kernels.slots import arguments

    *rows, columns = shape
    *lines, width = ranked.shape
    counts = _counts(ranked)
    counted = counts.any(-1)
    of_lines = counts.reshape(-1, width)[counted.ravel()]
    is_extreme = ranked.rank in (0, int(of_lines.sum()) - 1)
    in_registers = (_count(ranked), ranked.rank) in IN_REGISTERS
    is_box = ranked.footprint is None and width > 1 and not is_extreme and not in_registers
    # Two rows of large boxes together take a half of what they take alone.
    is_paired = is_box and len(of_lines) >= _LEAST_PAIRED and len(of_lines) == lines[-1]
    if is_paired:
        counted = np.ones((*counted.shape[:-1], lines[-1] + 1), bool)
    offsets = np.argwhere(counted) if lines else np.zeros((1, 0), np.int64)
    if is_extreme:
        runs = _runs(of_lines)
        program = network_of_runs(tuple((runs[:, 2] - runs[:, 1]).tolist()), ranked.rank > 0)
        taps = np.stack([np.repeat(runs[:, 0], 2), (runs[:, 1:2] + [0, 1]).ravel()], 1)
    elif is_box:
        program = network_of_box(len(of_lines), width, ranked.rank, is_paired)
        taps = np.stack([np.arange(len(offsets)), np.zeros(len(offsets), np.int64)], 1)
    else:
        line, column = np.nonzero(of_lines)
        program = network_of_taps(len(line), ranked.rank)
        taps = np.stack([line, column], 1)
    reach = max(ranked.shape[:-1], default=1) - 1 + is_paired
    maps = [
        np.pad(source_indices(-b, n + k - 1 - b, n, mode), (0, reach - (k - 1)))
        for n, k, b, mode in zip(rows, lines, ranked.begins, ranked.modes, strict=False)
    ]
    begin, mode = ranked.begins[-1], ranked.modes[-1]
    span = _span(program, len(offsets), columns, width, dtype)
    across = -(-columns // span)
    span = -(-columns // across)
    ints = arguments("network")(
        cols=columns,
        axes=len(rows),
        reach=reach,
        lines=len(offsets),
        taps=len(taps),
        kw=width,
        pl=begin,
        span=span,
        across=across,
        rows=1 + is_paired,
        slots=program.slots,
        words=program.words.size,
        continues=int(is_box),
        pause=max(1, int(_STEPS_BETWEEN_CHECKS / (span * dtype.itemsize * program.steps))),
    )
    tables = (
        constant(np.array(rows, np.int64)),
        constant(np.concatenate(maps, dtype=np.int64) if maps else np.zeros(0, np.int64)),
        constant(np.ascontiguousarray(offsets, np.int64)),
        constant(np.ascontiguousarray(taps, np.int64)),
        constant(source_indices(-begin, columns + width - 1 - begin, columns, mode)),
        program.words,
    )
    tiles = prod(rows[:-1]) * -(-rows[-1] // ints.rows) if rows else 1
    return Launch.of("network", dtype, ints, tiles * across, tables=tables)


def _span(program: Program, lines: int, columns: int, width: int, dtype: np.dtype) -> int:
    """The outputs of a block: as many as make its slots fit L2."""
    fitting = min(_FITTING // program.slots, _MOST_GATHERED // lines) // dtype.itemsize - width
    return min(columns, max(_FEWEST // dtype.itemsize, min(fitting, _MOST)))
