"""What a recording can be, for annotations."""

import os
from typing import SupportsFloat, TypeAlias, Union

import numpy as np
import numpy.typing as npt

Samples: TypeAlias = Union[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.int16]]
"""float32 or float64 (full scale 1) or int16, ``[n]`` or ``[n, channels]``."""

Rate: TypeAlias = SupportsFloat
"""Samples per second, a whole number of Hz, 1,000 to 768,000."""

Recording: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, tuple[Samples, Rate]]
"""A path, the bytes of a file, or samples with their rate."""
