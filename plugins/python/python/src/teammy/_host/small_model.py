"""A base class with pydantic's shape, for plugins whose environment has no pydantic.

Fields are annotations, with defaults. The types that JSON has are checked, and converted as pydantic
converts them where no information is lost; a value of any other annotation is taken as it is.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import enum
import json
import math
import types
import typing
from typing import Any, ClassVar

_MISSING = object()
_SHAREABLE = (type(None), bool, int, float, str, bytes)


class ValidationError(ValueError):
    """What a value lacks to be of a class. `errors()` lists the problems, each with its `loc` and `type`."""

    def __init__(self, title: str, found: list[dict]) -> None:
        self.title = title
        self._found = found
        kinds = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in found)
        super().__init__(f"{len(found)} validation problem(s) for {title}: {kinds}")

    def errors(self) -> list[dict]:
        return self._found

    def error_count(self) -> int:
        return len(self._found)


class _Bad(Exception):
    def __init__(self, kind: str) -> None:
        self.kind = kind


class SmallModel:
    """See the module."""

    __slots__ = ("__dict__", "_given", "__weakref__")
    model_fields: ClassVar[dict[str, Any]] = {}
    _model_extra: ClassVar[str] = "ignore"
    _model_hints: ClassVar[dict[str, Any] | None] = None

    def __init_subclass__(cls, extra: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        config = getattr(cls, "model_config", None) or {}
        cls._model_extra = extra or config.get("extra", "ignore")
        fields = {}
        for base in reversed(cls.__mro__[1:]):
            fields.update({name: default for name, default in base.__dict__.get("model_fields", {}).items()})
        for name, annotation in cls.__dict__.get("__annotations__", {}).items():
            if name.startswith("_") or name == "model_config" or "ClassVar" in str(annotation):
                continue
            fields[name] = cls.__dict__.get(name, _MISSING)
        cls.model_fields = fields
        cls._model_hints = None

    def __init__(self, *args: Any, **values: Any) -> None:
        if len(args) > len(self.model_fields):
            raise TypeError(
                f"{type(self).__name__} takes {len(self.model_fields)} positional arguments, not {len(args)}"
            )
        for name, value in zip(self.model_fields, args):
            if name in values:
                raise TypeError(f"{type(self).__name__} got two values for {name}")
            values[name] = value
        self._take(values)

    def _take(self, values: dict[str, Any]) -> None:
        hints = self._hints()
        found: list[dict] = []
        for name, default in self.model_fields.items():
            value = values.pop(name, _MISSING)
            if value is not _MISSING:
                self.__dict__[name] = _checked(hints.get(name, Any), value, (name,), found)
            elif default is not _MISSING:
                self.__dict__[name] = default if isinstance(default, _SHAREABLE) else copy.deepcopy(default)
            else:
                found.append({"loc": (name,), "type": "missing"})
        if self._model_extra == "allow":
            self.__dict__.update(values)
        elif self._model_extra == "forbid":
            found.extend({"loc": (name,), "type": "extra_forbidden"} for name in values)
        if found:
            raise ValidationError(type(self).__name__, found)

    @classmethod
    def _hints(cls) -> dict[str, Any]:
        if cls._model_hints is None:
            try:
                cls._model_hints = typing.get_type_hints(cls)
            except Exception:
                # A name that only a type checker sees: its field is not checked.
                cls._model_hints = {}
        return cls._model_hints

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({fields})"

    def __iter__(self) -> Any:
        return iter(self.__dict__.items())

    def model_dump(
        self, *, mode: str = "python", exclude: Any = (), exclude_none: bool = False, **_: Any
    ) -> dict:
        """The fields as a dictionary; `mode="json"` makes each value one that JSON has."""
        fields = {name: value for name, value in self.__dict__.items() if name not in (exclude or ())}
        if exclude_none:
            fields = {name: value for name, value in fields.items() if value is not None}
        return {name: _dumped(value, mode == "json") for name, value in fields.items()}

    def model_dump_json(self, *, indent: int | None = None, **options: Any) -> str:
        compact = None if indent else (",", ":")
        return json.dumps(
            self.model_dump(mode="json", **options), ensure_ascii=False, separators=compact, indent=indent
        )

    @classmethod
    def model_validate(cls, value: Any, **_: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, dict):
            raise ValidationError(cls.__name__, [{"loc": (), "type": "model_type"}])
        made = cls.__new__(cls)
        SmallModel._take(made, dict(value))
        return made

    @classmethod
    def model_validate_json(cls, text: str | bytes | bytearray, **_: Any) -> Any:
        try:
            value = json.loads(text)
        except ValueError:
            raise ValidationError(cls.__name__, [{"loc": (), "type": "json_invalid"}]) from None
        return cls.model_validate(value)

    @classmethod
    def model_construct(cls, _fields_set: Any = None, **values: Any) -> Any:
        """A model of these values, unchecked."""
        made = cls.__new__(cls)
        for name, default in cls.model_fields.items():
            if default is not _MISSING:
                made.__dict__[name] = copy.deepcopy(default)
        made.__dict__.update(values)
        return made

    def model_copy(self, *, update: dict | None = None, deep: bool = False) -> Any:
        made = type(self).__new__(type(self))
        made.__dict__.update(copy.deepcopy(self.__dict__) if deep else self.__dict__)
        made.__dict__.update(update or {})
        return made


def _dumped(value: Any, as_json: bool) -> Any:
    if isinstance(value, SmallModel):
        return value.model_dump(mode="json" if as_json else "python")
    if isinstance(value, dict):
        return {_dumped(key, as_json): _dumped(each, as_json) for key, each in value.items()}
    if isinstance(value, list):
        return [_dumped(each, as_json) for each in value]
    if isinstance(value, (tuple, set, frozenset)):
        made = [_dumped(each, as_json) for each in value]
        return made if as_json else type(value)(made)
    if as_json:
        if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
            text = value.isoformat()
            return text[:-6] + "Z" if text.endswith("+00:00") else text
        if isinstance(value, enum.Enum):
            return value.value
        if isinstance(value, bytes):
            return value.decode()
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {
                field.name: _dumped(getattr(value, field.name), True) for field in dataclasses.fields(value)
            }
    return value


def _checked(hint: Any, value: Any, loc: tuple, found: list[dict]) -> Any:
    try:
        return _convert(hint, value, loc, found)
    except _Bad as bad:
        found.append({"loc": loc, "type": bad.kind})
        return value


def _convert(hint: Any, value: Any, loc: tuple, found: list[dict]) -> Any:
    if type(value) is hint:
        return value
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _convert(args[0], value, loc, found)
    if origin is typing.Union or origin is types.UnionType:
        return _union(args, value, loc, found)
    if origin is typing.Literal:
        if any(value == each and type(value) is type(each) for each in args):
            return value
        raise _Bad("literal_error")
    if hint is None or hint is type(None):
        if value is None:
            return None
        raise _Bad("none_required")
    if origin in (list, tuple, set, frozenset) or hint in (list, tuple, set, frozenset):
        return _sequence(origin or hint, args, value, loc, found)
    if origin is dict or hint is dict:
        if not isinstance(value, dict):
            raise _Bad("dict_type")
        if not args:
            return value
        return {
            _checked(args[0], key, (*loc, key), found): _checked(args[1], each, (*loc, key), found)
            for key, each in value.items()
        }
    if isinstance(hint, type):
        return _plain(hint, value, loc, found)
    return value


def _union(choices: tuple, value: Any, loc: tuple, found: list[dict]) -> Any:
    if any(isinstance(each, type) and type(value) is each for each in choices):
        return value
    first: list[dict] = []
    for choice in choices:
        problems: list[dict] = []
        made = _checked(choice, value, loc, problems)
        if not problems:
            return made
        if choice is not type(None):
            first = first or problems
    found.extend(first)
    return value


def _sequence(kind: Any, args: tuple, value: Any, loc: tuple, found: list[dict]) -> Any:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise _Bad(f"{kind.__name__}_type")
    fixed = kind is tuple and args and args[-1] is not Ellipsis
    if fixed and len(args) != len(value):
        raise _Bad("too_short" if len(value) < len(args) else "too_long")
    each_hint = args if fixed else [args[0] if args else Any] * len(value)
    made = [_checked(hint, each, (*loc, at), found) for at, (hint, each) in enumerate(zip(each_hint, value))]
    return kind(made)


def _plain(hint: type, value: Any, loc: tuple, found: list[dict]) -> Any:
    if issubclass(hint, SmallModel):
        try:
            return hint.model_validate(value)
        except ValidationError as error:
            found.extend({"loc": (*loc, *each["loc"]), "type": each["type"]} for each in error.errors())
            return value
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            raise _Bad("enum") from None
    if hint is bool:
        known = {True: True, False: False, "true": True, "false": False}
        if isinstance(value, (bool, int, float, str)) and value in known:
            return known[value]
        raise _Bad("bool_type")
    if hint is int or hint is float:
        return _number(hint, value)
    if hint is str:
        if isinstance(value, str):
            return value
        raise _Bad("string_type")
    if hint is bytes:
        if isinstance(value, (bytes, bytearray)):
            return bytes(value)
        if isinstance(value, str):
            return value.encode()
        raise _Bad("bytes_type")
    if hint is datetime.datetime:
        return _datetime(value)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        try:
            return hint(**value)
        except TypeError:
            raise _Bad("dataclass_type") from None
    if hint is object or hint is Any or isinstance(value, hint):
        return value
    raise _Bad("is_instance_of")


def _number(hint: type, value: Any) -> Any:
    name = hint.__name__
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _Bad(f"{name}_type")
    try:
        made = hint(value)
    except (ValueError, OverflowError):
        raise _Bad(f"{name}_parsing") from None
    if hint is int and isinstance(value, float) and (not math.isfinite(value) or made != value):
        raise _Bad("int_from_float")
    return made


def _datetime(value: Any) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
        if isinstance(value, str):
            return datetime.datetime.fromisoformat(value[:-1] + "+00:00" if value[-1:] in "zZ" else value)
    except (ValueError, OverflowError, OSError):
        raise _Bad("datetime_parsing") from None
    raise _Bad("datetime_type")
