"""What a notice is made of: a frozen thing with a JSON form, whose field names are exactly the JSON keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NoReturn, dataclass_transform

__all__ = ["Notice", "Shape", "maybe"]

_MAYBE: Final = object()
_NEEDED: Final = object()


def maybe() -> Any:
    """A field that the schema marks with '?': left out of the JSON while it is None."""
    return _MAYBE


def _plain(value: Any) -> Any:
    """*value* as the json module takes it: our shapes and mappings become dicts, tuples lists."""
    if isinstance(value, Shape):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Shape:
    """Something with a JSON form: frozen, made of keywords, equal where all fields are.

    To readers and type checkers a ``@dataclass(frozen=True, kw_only=True)``.  But
    that compiles six functions for each class, and the classes here took 23 ms of
    every start of the program; this way they take 1.
    """

    _fields: ClassVar[dict[str, Any]] = {}
    """The names in the schema's order, and what each is by default."""
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        own = {
            name: cls.__dict__.get(name, _NEEDED)
            for name, kind in cls.__annotations__.items()
            if not kind.startswith("ClassVar")
        }
        cls._fields = {**cls._fields, **own}
        given = {name: value for name, value in cls._fields.items() if value is not _NEEDED}
        cls._defaults = {name: None if value is _MAYBE else value for name, value in given.items()}

    def __init__(self, **values: Any) -> None:
        values = {**self._defaults, **values}
        if values.keys() != self._fields.keys():
            odd = ", ".join(sorted(values.keys() ^ self._fields.keys()))
            raise TypeError(f"{type(self).__name__}: missing or unknown: {odd}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    def to_json(self) -> dict[str, Any]:
        """The JSON keys of this thing, in the schema's order; optional ones that are None are left out."""
        values = self.__dict__
        return {
            name: _plain(values[name])
            for name, default in self._fields.items()
            if default is not _MAYBE or values[name] is not None
        }


class Notice(Shape):
    """Base of all events; :attr:`event` is the value of the JSON key ``event``."""

    event: ClassVar[str] = ""
