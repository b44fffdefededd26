"""The one exception that a user can cause."""


class InputError(ValueError):
    """Something a user gave is wrong.

    The message is a single line that says what is wrong, where, and what would be right. The CLI prints
    it and exits with code 2; library callers catch it like any ``ValueError``.
    """
