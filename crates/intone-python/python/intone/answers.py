"""Answers: plain data, which compares, pickles, and becomes a row with ``dataclasses.asdict``."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class _Scores:
    label: str | None
    """The most probable emotion; ``None`` for silence."""
    scores: dict[str, float]
    """The probability of each emotion, in the order of the model's labels; their sum is 1. All equal for silence."""
    silence: bool
    """Nothing was to be heard: silence is no emotion."""
    uncertain: bool
    """The model is too often wrong when it is this unsure."""

    def top(self, n: int) -> list[tuple[str, float]]:
        """The ``n`` most probable emotions, the most probable first; equal ones in the order of the labels."""
        return sorted(self.scores.items(), key=lambda item: -item[1])[: max(n, 0)]


@dataclass(frozen=True, kw_only=True)
class Recognition(_Scores):
    """What was recognised in one recording."""

    duration_s: float
    """Length of the recording, seconds."""
    n_windows: int
    """Windows that the recording was cut into."""
    n_silent: int
    """Those of them that had no say in the answer: silent, or without a voice where others have one."""
    warnings: tuple[str, ...]
    """What was wrong with the recording although it could be decoded."""
    embedding: npt.NDArray[np.float32] = field(repr=False, compare=False)
    """What the network makes of the recording before it decides, ``[n_embedding]``; zeros for silence."""


@dataclass(frozen=True, kw_only=True)
class Reading(_Scores):
    """What is to be heard in one stretch of a recording."""

    start_s: float
    """Where the stretch begins, seconds from the beginning: where the one before it ends."""
    end_s: float
    """Where it ends."""
    voice: float
    """Share of the stretch in which something rises above the background, 0 to 1."""
