from fastconv.kernels.slots import Slot

KINDS: dict[tuple[str, str], int]
KERNELS: dict[str, Slot]
