"""What can go wrong, in the library's words.

Every error is an :class:`IntoneError`, and so a ``ValueError``.
"""

from typing import Any


class IntoneError(ValueError):
    """Something cannot be done as it was asked for; the message says what was expected and what came."""


class AudioError(IntoneError):
    """A recording that cannot be used: no audio, damaged, of an unknown codec, empty, not finite, of the wrong dtype or shape."""


class ModelError(IntoneError):
    """A file that is no usable model."""


class FileError(IntoneError, OSError):
    """A file that cannot be read; ``errno`` and ``filename`` say more."""

    # Not the words that OSError would make of the two.
    __str__ = ValueError.__str__

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError keeps these where pickling does not look.
        return type(self), self.args, {**self.__dict__, "errno": self.errno, "filename": self.filename}


class ArgumentError(IntoneError, TypeError):
    """An argument of another type than expected."""
