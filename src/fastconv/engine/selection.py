"""Networks of comparisons that find the value of one rank in a window: programs for kernels/simd/network.h.

Sorted sequences are merged by Batcher's odd-even merge. In a box, each column is sorted first, then neighbouring
columns are merged to pairs, and these to fours: all of that is shared by the windows that contain them. Of the last
merge, one value is wanted, which is the lowest of the higher values of some pairs. Whatever does not contribute to it
is left out.

Two large boxes, one directly below the other, are computed together. Each has one row that the other lacks: of the
values in common, only as many as a row has, and one more, may be what is wanted of either box.

References: Batcher, Sorting networks and their applications, 1968; Smith, Implementing median filters in XC4000E FPGAs,
1996; Adams, Fast median filters using separable sorting networks, 2021.
"""

from __future__ import annotations

from functools import reduce
from itertools import accumulate, permutations
from typing import NamedTuple

import numpy as np

from fastconv.engine.remembering import remembered
from fastconv.kernels.recordings import constant

# A value, known by its number, and by how many columns its position is shifted. Taps have negative numbers.
Value = tuple[int, int]


class Program(NamedTuple):
    """A network, as a kernel runs it."""

    words: np.ndarray
    slots: int
    steps: float
    """Vectors that are read or written for each vector of outputs: what it costs."""

    @property
    def nbytes(self) -> int:
        return self.words.nbytes


class _Step(NamedTuple):
    name: str
    targets: tuple[int, ...]
    sources: tuple[Value, ...]


# Taps and ranks for which there is a single instruction, which beats what columns would share.
IN_REGISTERS = {(9, 4), (25, 12)}

# For some targets that are wanted: what finds only these.
_REDUCED = {
    ("EXCHANGE", (True, False)): "LOWER",
    ("EXCHANGE", (False, True)): "HIGHER",
    ("SORT", (True, False, False)): "LOWEST",
    ("SORT", (False, True, False)): "MEDIAN",
    ("SORT", (False, False, True)): "HIGHEST",
}


class _Network:
    """Steps in the order in which they are added; afterwards those that are not needed are dropped."""

    def __init__(self) -> None:
        self.steps: list[_Step] = []
        self.values = 0

    def add(self, name: str, targets: int, *sources: Value) -> list[Value]:
        made = tuple(range(self.values, self.values + targets))
        self.values += targets
        self.steps.append(_Step(name, made, sources))
        return [(value, 0) for value in made]

    def sort(self, values: list[Value]) -> list[Value]:
        if len(values) < 2:
            return values
        if len(values) < 4:
            return self.add("EXCHANGE" if len(values) == 2 else "SORT", len(values), *values)
        # Pieces of 3 values are sorted, and of 4 merged, within registers.
        middle = 3 * ((len(values) + 5) // 6) if len(values) % 3 == 0 else 2 * ((len(values) + 3) // 4)
        return self.merge(self.sort(values[:middle]), self.sort(values[middle:]))

    def merge(self, a: list[Value], b: list[Value]) -> list[Value]:
        """Batcher's merge of two sorted sequences of any lengths."""
        if not a or not b:
            return a + b
        if len(a) == len(b) == 1:
            return self.add("EXCHANGE", 2, *a, *b)
        if len(a) == len(b) == 2:
            return self.add("MERGE", 4, *a, *b)
        even, odd = self.merge(a[::2], b[::2]), self.merge(a[1::2], b[1::2])
        merged = even[:1]
        for low, high in zip(even[1:], odd, strict=False):
            merged += self.add("EXCHANGE", 2, low, high)
        return merged + even[len(odd) + 1 :] + odd[len(even) - 1 :]

    def select(self, a: list[Value], b: list[Value], rank: int) -> int:
        """The value of that rank in two sorted sequences: below it are some of the one, and otherwise of the other."""
        pairs = []
        for i in range(max(0, rank + 1 - len(b)), min(len(a), rank + 1) + 1):
            j = rank + 1 - i
            first, second = (a[i - 1] if i else b[j - 1]), (b[j - 1] if j else a[i - 1])
            pairs += [first, second]
        return self.add("SELECT", 1, *pairs)[0][0]

    def pruned(self, results: list[int]) -> tuple[list[_Step], dict[int, int]]:
        """The steps that results need, and the columns beyond a block's own in which each value is needed."""
        beyond = dict.fromkeys(results, 0)
        kept = []
        for name, targets, sources in reversed(self.steps):
            wanted = tuple([target in beyond for target in targets])
            if not any(wanted):
                continue
            reduced = _REDUCED.get((name, wanted))
            if reduced:
                name, targets = reduced, tuple([t for t in targets if t in beyond])
            elif name == "MERGE" and not (wanted[0] and wanted[3]):
                kept += self._reduced_merge(targets, sources, beyond)
                continue
            kept.append(_Step(name, targets, sources))
            reach = max(beyond.get(target, 0) for target in targets)
            for value, shift in sources:
                beyond[value] = max(beyond.get(value, 0), reach + shift)
        return kept[::-1], beyond

    def _reduced_merge(
        self, targets: tuple[int, ...], sources: tuple[Value, ...], beyond: dict[int, int]
    ) -> list[_Step]:
        """A merge of two pairs without its lowest or its highest value, last step first."""
        a, b, c, d = sources
        reach = max(beyond.get(target, 0) for target in targets)
        steps = []
        for target, name, pair in ((targets[0], "LOWER", (a, c)), (targets[3], "HIGHER", (b, d))):
            if target in beyond:
                steps.append(_Step(name, (target,), pair))
        inner = tuple([t for t in targets[1:3] if t in beyond])
        if inner:
            (low, _), (high, _) = (self.values, 0), (self.values + 1, 0)
            self.values += 2
            name = "EXCHANGE" if len(inner) == 2 else "LOWER" if inner[0] == targets[1] else "HIGHER"
            steps += [
                _Step(name, inner, ((low, 0), (high, 0))),
                _Step("HIGHER", (low,), (a, c)),
                _Step("LOWER", (high,), (b, d)),
            ]
            beyond[low] = beyond[high] = reach
        for step in steps:
            for value, shift in step.sources:
                beyond[value] = max(beyond.get(value, 0), reach + shift)
        return steps


# Vectors read and written by each step.
_STEPS = {
    "LOWER": 3,
    "HIGHER": 3,
    "EXCHANGE": 4,
    "SORT": 6,
    "MEDIAN": 4,
    "LOWEST": 4,
    "HIGHEST": 4,
    "MERGE": 8,
    "CONTINUE": 0,
}


def _cost(steps: list[_Step]) -> float:
    return sum(_STEPS.get(step.name) or 1.5 * len(step.sources) for step in steps)


@remembered(256)
def network_of_box(lines: int, columns: int, rank: int, paired: bool = False) -> Program:
    """The program for windows of `lines` taps, one above the other, in each of some neighbouring `columns`.

    Its taps are the lines. If windows are `paired`, there is one line more, and a second result: that of the windows
    one line below.
    """
    if columns == 1 and not paired:
        return network_of_taps(lines, rank)
    common = range(1, lines) if paired else range(lines)
    apart = (0, lines) if paired else ()
    bits = [bit for bit in range(columns.bit_length()) if columns >> bit & 1]
    if len(bits) == 1 and bits != [0]:  # a power of two: two halves
        bits = [bits[0] - 1] * 2
    best: tuple[float, list[_Step], dict[int, int], list[int]] | None = None
    for order in set(permutations(bits)):
        network = _Network()
        column = network.sort([(~line, 0) for line in common])
        copies = [network.add("HIGHER", 1, (~line, 0), (~line, 0))[0] for line in apart]
        column, *rows = [
            [network.add("CONTINUE", 1, value)[0] for value in values]
            for values in (column, *([copy] for copy in copies))
        ]
        sequences = _neighbours(network, column, order)
        if paired:
            shared = _merged(network, sequences)
            pairs = [(shared, _merged(network, _neighbours(network, row, order))) for row in rows]
        else:
            pairs = [(_merged(network, sequences[:-1]), sequences[-1])]
        results = [network.select(*pair, rank) for pair in pairs]
        steps, beyond = network.pruned(results)
        if best is None or _cost(steps) < best[0]:
            best = _cost(steps), steps, beyond, results
    assert best is not None
    return _compiled(*best[1:])


def _neighbours(network: _Network, column: list[Value], order: tuple[int, ...]) -> list[list[Value]]:
    """The values of neighbouring columns, 2^bit of them for each bit of `order`, as that many sorted sequences."""
    groups = [column]
    for bit in range(max(order)):
        groups.append(network.merge(groups[bit], _shifted(groups[bit], 1 << bit)))
    begins = accumulate((1 << bit for bit in order), initial=0)
    return [_shifted(groups[bit], begin) for bit, begin in zip(order, begins, strict=False)]


def _shifted(values: list[Value], by: int) -> list[Value]:
    return [(value, shift + by) for value, shift in values]


def _merged(network: _Network, sequences: list[list[Value]]) -> list[Value]:
    return reduce(network.merge, sequences)


@remembered(256)
def network_of_taps(taps: int, rank: int) -> Program:
    """The program for windows of some taps that have nothing in common with each other."""
    network = _Network()
    values = [(~tap, 0) for tap in range(taps)]
    if (taps, rank) in IN_REGISTERS:
        result = network.add(f"MEDIAN_OF_{taps}", 1, *values)[0][0]
    else:
        middle = taps // 2
        result = network.select(network.sort(values[:middle]), network.sort(values[middle:]), rank)
    return _compiled(*network.pruned([result]), [result])


@remembered(256)
def network_of_runs(sizes: tuple[int, ...], maximum: bool) -> Program:
    """The program for the lowest or the highest value of runs of lines, each of so many columns.

    Its taps are two for each run: its first column, and the next. Windows of 2 values make one of 4, and so on, so that
    two windows cover a run.
    """
    name = "HIGHER" if maximum else "LOWER"
    network = _Network()
    ends: list[Value] = []
    for number, size in enumerate(sizes):
        if size == 1:
            ends.append((~(2 * number), 0))
            continue
        ((window, _),) = network.add(name, 1, (~(2 * number), 0), (~(2 * number + 1), 0))
        width = 2
        while 2 * width <= size:
            ((window, _),) = network.add(name, 1, (window, 0), (window, width))
            width *= 2
        ends += [(window, shift) for shift in sorted({0, size - width})]
    while len(ends) > 2:
        ends[:3] = network.add("HIGHEST" if maximum else "LOWEST", 1, *ends[:3])
    result = network.add(name, 1, *(ends if len(ends) == 2 else ends * 2))[0][0]
    return _compiled(*network.pruned([result]), [result])


def _compiled(steps: list[_Step], beyond: dict[int, int], results: list[int]) -> Program:
    """Give each value a slot, as long as it is needed, and write the words of a program."""
    from fastconv.kernels.slots import INSTRUCTIONS, NETWORK_TARGET, SHIFT_BITS

    last_use: dict[int, int] = {}
    for at, step in enumerate(steps):
        for value, _ in step.sources:
            last_use[value] = at
    slot: dict[int, int] = {}
    free: list[int] = []
    slots, words = 0, []

    def operand(value: Value) -> int:
        number, shift = value
        return number if number < 0 else (slot[number] << SHIFT_BITS) + shift

    for at, (name, targets, sources) in enumerate(steps):
        ending = {value for value, _ in sources if value >= 0 and last_use[value] == at}
        # Instructions must be idempotent: one value may replace a source, several must replace all of them in order.
        shifted = {value for value, shift in sources if shift}
        in_place = [value for value, _ in sources if value in ending - shifted]
        if name == "SELECT" or (len(targets) > 1 and len(in_place) < len(sources)):
            in_place = []
        read = [operand(source) for source in sources]
        if name == "CONTINUE" and sources[0][0] >= 0:
            slot[targets[0]] = slot[sources[0][0]]
            in_place, ending = [], set()
        free += [slot[value] for value in reversed(in_place)]
        for target in targets:
            if target in slot:
                continue
            if target in results:
                slot[target] = ~results.index(target)
            elif free:
                slot[target] = free.pop()
            else:
                slot[target] = slots
                slots += 1
        free += [slot[value] for value in sorted(ending.difference(in_place), reverse=True)]
        free += [slot[target] for target in targets if target not in last_use and slot[target] >= 0]
        written = [
            slot[target] << SHIFT_BITS if slot[target] >= 0 else NETWORK_TARGET - ~slot[target] for target in targets
        ]
        reach = max(beyond.get(target, 0) for target in targets)
        if name == "SELECT":
            words.append(("HIGHER", reach, written + read[:2]))
            rest = read[2:]
            for i in range(0, len(rest), 4):
                four = rest[i : i + 4]
                words.append(("CHOOSE", reach, written + four + four[: 4 - len(four)]))
        elif name == "CONTINUE":
            if sources[0][0] < 0:  # a tap becomes a slot
                words.append(("HIGHER", reach, written + read + read))
            words.append((name, reach, written))
        else:
            words.append((name, reach, written + read))
    flat = [word for name, reach, operands in words for word in (INSTRUCTIONS[name], reach, *operands)]
    return Program(constant(np.array(flat, np.int32)), max(1, slots), _cost(steps))
