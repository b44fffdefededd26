"""docs/api.md, from the docstrings: `python -m maquette.app.api_page > docs/api.md`."""

import inspect
import re

import maquette

_WIDEST = 100  # a longer signature has a line for each parameter

_HEAD = """# The Python interface

`import maquette` offers these names; they are loaded when they are first used. Frames and units are those of
[conventions.md](conventions.md). Made by `python -m maquette.app.api_page`.
"""


def page() -> str:
    """Every public name with its signature and its docstring, functions before nouns."""
    values = {name: getattr(maquette, name) for name in maquette.__all__ if not name.startswith("_")}
    names = sorted(values, key=lambda name: (inspect.isclass(values[name]), name.lower()))
    return "\n".join([_HEAD, *(_entry(name, values[name]) for name in names)]).rstrip() + "\n"


def signature(name: str) -> str:
    """A public name as it is called."""
    value = getattr(maquette, name)
    if inspect.isclass(value) and issubclass(value, Exception):
        return f"{name}(message)"
    called = inspect.signature(value)
    text = _short(name + str(called))
    if len(text) <= _WIDEST:
        return text
    head, _, result = text.rpartition(" -> ") if " -> " in text else (text, "", "")
    assert head.endswith(")")
    lines = [f"    {_short(str(parameter))},\n" for parameter in called.parameters.values()]
    keyword = [i for i, p in enumerate(called.parameters.values()) if p.kind is p.KEYWORD_ONLY]
    if keyword:
        lines.insert(keyword[0], "    *,\n")
    return f"{name}(\n{''.join(lines)})" + (f" -> {result}" if result else "")


def _short(text: str) -> str:
    """Types by their own names, without those of their modules."""
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text).replace("numpy.", "np.")


def _entry(name: str, value: object) -> str:
    return f"## {name}\n```python\n{signature(name)}\n```\n```text\n{inspect.getdoc(value)}\n```\n"


if __name__ == "__main__":
    print(page(), end="")
