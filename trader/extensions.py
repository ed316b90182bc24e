"""Parts that users bring along: named in a setting as `module:name`, found by import.

A strategy, an exchange, a model or indicators of one's own need no change of the program: the
setting names the module, which is looked for beside the program and in the folder it is called
from. Whatever is wrong with it is said in one line with the setting, the place and the remedy.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from trader.domain.errors import TraderError, UsageError


def load_part(setting: str, text: str, wants: str) -> Any:
    """What `module:name` stands for.

    Args:
        setting: the name of the setting, for messages.
        text: `module:name`.
        wants: what is expected there, in words: `a function (situation) -> Signal`.

    Raises:
        UsageError: if the module cannot be imported or has no such name.
    """
    module, _, name = text.partition(":")
    found = load_module(setting, module)
    if not hasattr(found, name):
        known = [word for word in vars(found) if not word.startswith("_")]
        raise UsageError(
            f"{setting}={text}: {_place(found)} has no '{name}'",
            f"Wanted there: {wants}. It has: {', '.join(known[:12]) or 'nothing'}.",
        )
    return getattr(found, name)


def load_module(setting: str, module: str) -> ModuleType:
    """The module of that name, beside the program or in the present folder.

    Raises:
        UsageError: if there is none, or it fails while it is imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as fault:
        if fault.name is not None and not module.startswith(fault.name):
            raise UsageError(
                f"{setting}: {module} wants the package '{fault.name}', which is not installed",
                f"pip install {fault.name}",
            ) from fault
        raise UsageError(
            f"{setting}: there is no module '{module}'",
            f"Put {module.replace('.', '/')}.py beside the program or into {here}.",
        ) from fault
    except TraderError:
        raise
    except Exception as fault:
        raise UsageError(
            f"{setting}: {module} fails while it is imported: {type(fault).__name__}: {fault}",
            _line_of(fault, module) or f"Try it: python -c 'import {module}'",
        ) from fault


def fingerprint(setting: str, module: str) -> str:
    """The first 16 hex digits of the sha256 of a module's source: another text, another part.

    What the module itself imports is not looked at.
    """
    source = Path(_place(load_module(setting, module)))
    text = source.read_bytes() if source.is_file() else str(source).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def demand_methods(setting: str, text: str, part: Any, names: Iterable[str]) -> None:
    """See to it that a part has the methods it will be asked for.

    Raises:
        UsageError: with every missing one.
    """
    missing = [name for name in names if not callable(getattr(part, name, None))]
    if missing:
        raise UsageError(
            f"{setting}={text} lacks {', '.join(missing)}",
            "What each has to do is written in trader/ports.py.",
        )


def failure(setting: str, text: str, fault: Exception) -> UsageError:
    """What to say of a part that fails while it works, with the line of it that does.

    Args:
        setting: the name of the setting, for messages.
        text: `module` or `module:name`.
        fault: what came out of it.
    """
    return UsageError(
        f"{setting}={text} fails: {type(fault).__name__}: {fault}",
        _line_of(fault, text.partition(":")[0]),
    )


def _line_of(fault: Exception, module: str) -> str:
    """Where in the module it went wrong, and what stands there; empty if it was not there."""
    stem = module.rpartition(".")[2]
    if isinstance(fault, SyntaxError) and Path(fault.filename or "").stem == stem:
        return f"Look at {stem}.py, line {fault.lineno}: {(fault.text or '').strip()}"
    frames = traceback.extract_tb(fault.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).stem == stem]
    return f"Look at {stem}.py, line {own[-1].lineno}: {own[-1].line}" if own else ""


def _place(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)
