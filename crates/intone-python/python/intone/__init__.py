"""Speech emotion recognition: audio in, emotions out.

>>> import intone
>>> recognizer = intone.Recognizer()
>>> recognizer.labels
['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad']

>>> answer = recognizer.recognize("call.mp3")                   # doctest: +SKIP
>>> answer.label, answer.scores["angry"]                        # doctest: +SKIP
>>> answers = recognizer.recognize_batch(paths, workers=8)      # doctest: +SKIP
>>> readings = recognizer.timeline("meeting.mp3")               # doctest: +SKIP

An answer says what an utterance sounds like, not what a person feels. It must not be used to decide about people.
"""

from ._native import Recognizer, Stream, __version__, log_mel
from .answers import Reading, Recognition
from .errors import ArgumentError, AudioError, FileError, IntoneError, ModelError
from .recordings import Recording, Samples

__all__ = [
    "ArgumentError",
    "AudioError",
    "FileError",
    "IntoneError",
    "ModelError",
    "Reading",
    "Recognition",
    "Recognizer",
    "Recording",
    "Samples",
    "Stream",
    "__version__",
    "log_mel",
]
