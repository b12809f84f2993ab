"""What can go wrong, in two kinds a caller can act on."""


class RequestError(ValueError):
    """The request was wrong: nothing was written, and the message says what to change."""


class ExportError(RuntimeError):
    """The work failed half-way: the target holds no export that looks whole."""


class ExportWarning(UserWarning):
    """The export goes on, but its author should know."""
