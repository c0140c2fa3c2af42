"""The compiled part of the package. Its documentation stands in the objects: ``help(intone.Recognizer)``."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from .answers import Reading, Recognition
from .errors import IntoneError
from .recordings import Rate, Recording, Samples

__all__ = ["__version__", "Recognizer", "Stream", "log_mel"]

__version__: str

@final
class Recognizer:
    def __new__(cls, model: str | os.PathLike[str] | bytes | bytearray | None = None) -> Recognizer: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def meta(self) -> dict[str, Any]: ...
    @property
    def window_range_s(self) -> tuple[float, float]: ...
    def recognize(self, recording: Recording, *, classes: Sequence[str] | None = None) -> Recognition: ...
    def recognize_batch(
        self,
        recordings: Iterable[Recording],
        *,
        workers: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> list[Recognition | IntoneError]: ...
    def timeline(
        self,
        recording: Recording,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        smoothing_s: float = 1.0,
        spans: bool = False,
    ) -> list[Reading]: ...
    def embed(self, recording: Recording) -> npt.NDArray[np.float32]: ...
    def stream(
        self,
        rate: Rate,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        smoothing_s: float = 1.0,
    ) -> Stream: ...

@final
class Stream:
    @property
    def rate(self) -> int: ...
    @property
    def window_s(self) -> float: ...
    @property
    def hop_s(self) -> float: ...
    def push(self, samples: Samples) -> list[Reading]: ...
    def finish(self) -> list[Reading]: ...

def log_mel(
    samples: Samples,
    rate: Rate,
    *,
    front_end: Literal["reference", "whisper"] = "reference",
    trim_db: float | None = None,
) -> npt.NDArray[np.float32]: ...
