"""What a request says: form or JSON bodies, query strings, Kraken's booleans, lists, times."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_BODY_BYTES = 1 << 20
MAX_FIELDS = 500

_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "", "no", "none", "null"})
_MICROSECOND = 1_000_000
_LARGEST_TIME = 253_402_300_799


class Refused(Exception):
    """The request is answered with an error string of Kraken's.

    Args:
        text: the string, `EOrder:Insufficient funds`.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def invalid(field: str = "") -> Refused:
    """The refusal of one argument, or of the arguments as a whole."""
    return Refused("EGeneral:Invalid arguments" + (f":{field}" if field else ""))


class Form:
    """The fields of a request; nested ones are called `close[ordertype]`.

    Unknown fields are harmless. Each reader refuses what is not of its kind with
    `EGeneral:Invalid arguments:<field>`.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    @classmethod
    def of_query(cls, query: str) -> Form:
        """From the part of an address after `?`, or from a form body."""
        try:
            pairs = urllib.parse.parse_qsl(
                query, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"
            )
        except ValueError:
            raise invalid() from None
        return cls(dict(pairs))

    @classmethod
    def of_body(cls, content_type: str, body: bytes) -> Form:
        """From a body, JSON or form.

        Raises:
            Refused: if it is too long or cannot be read.
        """
        if len(body) > MAX_BODY_BYTES:
            raise Refused("EAPI:Bad request")
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Refused("EAPI:Bad request") from None
        if "json" in content_type.lower() or text[:1] == "{":
            return cls(_of_json(text))
        return cls.of_query(text)

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) not in (None, "")

    def raw(self, name: str) -> Any:
        """The field as it came, None if it did not."""
        return self._fields.get(name)

    def text(self, name: str, default: str = "") -> str:
        """One value as text, without spaces around it."""
        value = self._fields.get(name)
        if value is None:
            return default
        if isinstance(value, dict | list):
            raise invalid(name)
        return str(value).strip() or default

    def flag(self, name: str, default: bool = False) -> bool:
        """true, True, 1 or false, False, 0, empty."""
        word = self.text(name).lower()
        if name not in self:
            return default
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise invalid(name)

    def names(self, name: str) -> list[str]:
        """A list: comma separated text, or a list of JSON."""
        value = self._fields.get(name)
        if isinstance(value, list):
            return [str(item).strip() for item in value if not isinstance(item, dict | list)]
        return [part.strip() for part in self.text(name).split(",") if part.strip()]

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        if name not in self:
            return default
        text = self.text(name)
        if not re.fullmatch(r"[+-]?\d{1,19}", text) or not low <= int(text) <= high:
            raise invalid(name)
        return int(text)

    def decimal(self, name: str) -> Decimal | None:
        """A finite number, None if absent."""
        return None if name not in self else to_number(self.text(name), name)

    def price(self, name: str) -> str:
        """A price, maybe relative. A plus that a form body turned into a space is restored."""
        value = self._fields.get(name)
        if isinstance(value, dict | list):
            raise invalid(name)
        text = "" if value is None else str(value)
        return "+" + text[1:].strip() if text[:1] == " " and text.strip() else text.strip()

    def moment(self, name: str) -> int | None:
        """Unix seconds, maybe with a fraction, as microseconds; None if absent or 0."""
        number = self.decimal(name)
        if not number:
            return None
        if not 0 < number <= _LARGEST_TIME:
            raise invalid(name)
        return int(number * _MICROSECOND)

    def part(self, name: str) -> Form:
        """The nested fields `name[...]`, or the nested object of a JSON body."""
        inner = self._fields.get(name)
        if isinstance(inner, dict):
            return Form(inner)
        opening = f"{name}["
        return Form(
            {
                key[len(opening) : -1]: value
                for key, value in self._fields.items()
                if key.startswith(opening) and key.endswith("]")
            }
        )

    def __bool__(self) -> bool:
        return bool(self._fields)


def to_number(text: str, field: str) -> Decimal:
    """A finite decimal of sensible size.

    Raises:
        Refused: if the text is none.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise invalid(field) from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > 40 or len(text) > 60:
        raise invalid(field)
    return number


def rfc3339(text: str, field: str) -> datetime:
    """A moment such as `2026-01-02T03:04:05.678Z`; without an offset it is UTC.

    Raises:
        Refused: if the text is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(field) from None
    try:
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        raise invalid(field) from None


def _of_json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_float=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        raise Refused("EAPI:Bad request") from None
    if not isinstance(found, dict) or len(found) > MAX_FIELDS:
        raise Refused("EAPI:Bad request")
    return found
