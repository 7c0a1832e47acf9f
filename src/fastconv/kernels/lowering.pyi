from typing import Final

from fastconv.kernels.slots import Slot

SWAPPED_CHANNELS: Final[int]
SWAPPED_FILTERS: Final[int]
PANELS_TOGETHER: Final[int]
STEPS_TOGETHER: Final[int]
KERNELS: dict[str, Slot]
