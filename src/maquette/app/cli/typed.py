"""Verbs whose options are a function's typed parameters, by tyro; a mistake is one line, as everywhere."""

import contextlib
import functools
import io
import re
from collections.abc import Callable
from typing import Any

import tyro

from maquette.errors import InputError


def run(verbs: dict[str, Callable[..., None]], prog: str, description: str, argv: list[str]) -> None:
    """Parse `argv`, then call the function that it names.

    Raises:
        InputError: the arguments are wrong; in one line what tyro says in a box.
    """
    said = io.StringIO()
    deferred = {name: _deferred(function) for name, function in verbs.items()}
    try:
        with contextlib.redirect_stderr(said):
            job: Any = tyro.extras.subcommand_cli_from_dict(deferred, prog=prog, description=description, args=argv)
    except SystemExit as leaving:
        if not leaving.code:
            raise
        words = " ".join(re.sub(r"\x1b\[[0-9;]*m|[─-╿]", " ", said.getvalue()).split())
        raise InputError(words) from None
    job()


def _deferred(function: Callable[..., None]) -> Callable[..., Any]:
    """The same signature, but the work waits: what it prints must not be mistaken for a parser's complaint."""

    @functools.wraps(function)
    def parsed(*args: Any, **kwargs: Any) -> Any:
        return functools.partial(function, *args, **kwargs)

    parsed.__annotations__ = {**function.__annotations__, "return": Any}
    return parsed
