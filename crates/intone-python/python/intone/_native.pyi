"""The compiled part of the package. What is said here stands in the objects too; a test sees to that."""

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
    """A trained model, ready to recognise.

    A recording is a path (``str`` or ``os.PathLike``), the bytes of a file, or a tuple ``(samples, rate)`` with a numpy array:
    float32 or float64 (full scale 1) or int16, ``[n]`` or ``[n, channels]``, and its samples per second. WAV, FLAC, Ogg
    Vorbis, MP3, AAC and M4A, AIFF and Matroska are decoded, in bounded memory whatever their length; the content says what a
    file is. The scores are those of ``intone predict``, bit for bit.

    One recognizer serves any number of threads; while it works, the interpreter is released. It can be pickled, and used after a
    fork.

    Args:
        model: A model file: its path or its bytes. ``None``: the model that is part of the package.

    Raises:
        ModelError: For a file that is no usable model.
        FileError: For a file that cannot be read.
    """

    def __new__(cls, model: str | os.PathLike[str] | bytes | bytearray | None = None) -> Recognizer: ...
    @property
    def labels(self) -> list[str]:
        """The classes, in the order of all scores."""
    @property
    def meta(self) -> dict[str, Any]:
        """What the model file says about the model: its architecture, front end, calibration and provenance."""
    @property
    def window_range_s(self) -> tuple[float, float]:
        """The shortest and the longest window of a timeline, seconds."""
    def recognize(self, recording: Recording, *, classes: Sequence[str] | None = None) -> Recognition:
        """Recognises the emotions in one recording.

        Args:
            recording: A path, the bytes of a file, or ``(samples, rate)``.
            classes: Choose among these only; their probabilities then sum to 1. An answer that is uncertain among all classes stays
                so.

        Raises:
            IntoneError: With what is wrong: :class:`AudioError` for what is no usable audio, :class:`FileError` for what cannot
                be read, :class:`ArgumentError` for what is no recording.
        """
    def recognize_batch(
        self,
        recordings: Iterable[Recording],
        *,
        workers: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> list[Recognition | IntoneError]:
        """Recognises the emotions in many recordings.

        Args:
            recordings: Paths, bytes, tuples ``(samples, rate)``, in any mixture.
            workers: Recordings that are worked on at the same time, each by one thread, 1 to 1,024. ``None``: as many as there
                are processors, and all of those for fewer recordings.
            classes: As in :meth:`recognize`.

        Returns:
            For each recording, in their order, a :class:`Recognition`, or the :class:`IntoneError` that says why there is none:
            an object, not raised, so that one bad recording never costs the others.

        Raises:
            IntoneError: For ``workers`` and ``classes`` that cannot be, and what is no collection of recordings.
        """
    def timeline(
        self,
        recording: Recording,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        smoothing_s: float = 1.0,
        spans: bool = False,
    ) -> list[Reading]:
        """What is to be heard over the course of a recording.

        Args:
            recording: A path, the bytes of a file, or ``(samples, rate)``.
            window_s: Length of a window, seconds, in :attr:`window_range_s`. ``None``: 3 s, or the model's own.
            hop_s: Distance between two windows, seconds, from 0.1 to the length of the window. ``None``: 1 s.
            smoothing_s: Time over which the readings are smoothed, seconds, 0 (not at all) to 60.
            spans: Join neighbours with the same label, or with none.

        Returns:
            Readings from the beginning to the end, without gaps: where nobody speaks there is a reading that says so.

        Raises:
            IntoneError: As :meth:`recognize`, and for windows that do not fit the model.
        """
    def embed(self, recording: Recording) -> npt.NDArray[np.float32]:
        """What the network makes of a recording before it decides, float32, ``[n_embedding]``: the input for a classifier of
        one's own. Zeros for silence.

        Args:
            recording: A path, the bytes of a file, or ``(samples, rate)``.

        Raises:
            IntoneError: As :meth:`recognize`.
        """
    def stream(
        self,
        rate: Rate,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        smoothing_s: float = 1.0,
    ) -> Stream:
        """Recognises audio while it arrives.

        Args:
            rate: Samples per second of what will be pushed, Hz, 1,000 to 768,000.
            window_s, hop_s, smoothing_s: As in :meth:`timeline`.

        Raises:
            IntoneError: For a rate that cannot be, or windows that do not fit the model.
        """

@final
class Stream:
    """Audio that is recognised while it arrives, in chunks of any size. Made by :meth:`Recognizer.stream`.

    However a signal is divided into chunks, the readings are the same, and they are those of :meth:`Recognizer.timeline`. A
    reading comes as soon as its window is complete.
    """

    @property
    def rate(self) -> int:
        """Samples per second of what is pushed, Hz."""
    @property
    def window_s(self) -> float:
        """Length of a window, seconds."""
    @property
    def hop_s(self) -> float:
        """Distance between two windows, seconds."""
    def push(self, samples: Samples) -> list[Reading]:
        """Takes the next samples and gives the readings that they complete.

        Args:
            samples: float32 or float64 (full scale 1) or int16, ``[n]`` or ``[n, channels]``, none or more.

        Raises:
            IntoneError: For samples that are not as above or not finite, of which none are taken then; after :meth:`finish`.
        """
    def finish(self) -> list[Reading]:
        """Ends the audio and gives the last readings, the last of which ends with it; none where there was no audio.

        Raises:
            IntoneError: When called twice.
        """

def log_mel(
    samples: Samples,
    rate: Rate,
    *,
    front_end: Literal["reference", "whisper"] = "reference",
    trim_db: float | None = None,
) -> npt.NDArray[np.float32]:
    """Log-mel frames of a whole recording, float32, ``[n_mels, n_frames]``, the lowest band first.

    The reference front end gives what librosa 0.11 gives with ``power_to_db(melspectrogram(y=y, sr=22050), ref=np.max)``: 128
    bands, a frame each 512 samples at 22,050 Hz, dB relative to the recording's peak, in [-80, 0]. ``"whisper"`` gives what
    Whisper's ``log_mel_spectrogram`` gives of the recording alone: 80 bands, a frame each 10 ms at 16 kHz.

    Args:
        samples: float32 or float64 (full scale 1) or int16, ``[n]`` or ``[n, channels]``; channels become their mean.
        rate: Samples per second, Hz, 1,000 to 768,000. They are resampled to the front end's rate.
        front_end: ``"reference"`` or ``"whisper"``.
        trim_db: Trim both ends of what is more than this below the loudest part first, as ``librosa.effects.trim``.

    Raises:
        IntoneError: Where the samples, the rate or the front end are not as above.
    """
