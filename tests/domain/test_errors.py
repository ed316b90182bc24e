"""The tree of errors as its drawing says: what may be repeated, which status the shell gets."""

import re

import pytest

from trader.domain import errors


def drawn():
    """(class, retryable, exit status, parent) of each line of the drawing in the module."""
    rows, above = [], {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"^([│├└─ ]*)([A-Z]\w+)\s*(yes|no)?\s*(\d)?", line)
        if match and hasattr(errors, match[2]):
            depth = len(match[1]) // 4
            above[depth] = match[2]
            rows.append((match[2], match[3], match[4], above.get(depth - 1)))
    return rows


def made(cls):
    return cls("rule", "text", "do this") if cls is errors.RuleError else cls("text", "do this")


def test_every_error_is_in_the_drawing():
    classes = {
        name for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.TraderError)
    }  # fmt: skip
    assert {name for name, *_ in drawn()} == classes


@pytest.mark.parametrize(("name", "retryable", "status", "parent"), drawn())
def test_an_error_is_what_the_drawing_says(name, retryable, status, parent):
    cls = getattr(errors, name)
    if retryable:
        assert cls.retryable is (retryable == "yes")
    if status:
        assert cls.exit_status == int(status)
    if parent:
        assert issubclass(cls, getattr(errors, parent))


@pytest.mark.parametrize("name", [name for name, *_ in drawn()])
def test_an_error_tells_what_and_what_to_do(name):
    fault = made(getattr(errors, name))
    assert fault.as_dict() == {
        "category": fault.category, "message": "text", "hint": "do this",
        "retryable": fault.retryable,
    }  # fmt: skip
    assert str(fault) == "text"
