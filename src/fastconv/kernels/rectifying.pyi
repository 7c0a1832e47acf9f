from fastconv.kernels.slots import Slot

KERNELS: dict[str, Slot]
