"""The operator's table to the plugin's `PluginConfig`."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
from typing import Any

from teammy._host.errors import Places, Refused
from teammy._host.model import is_model, is_validation_error


def config_of(default: Any, table: dict[str, Any], places: Places) -> Any:
    """The metadata's configuration with the table's values in the place of the defaults."""
    if not table:
        return default
    if default is None:
        name = next(iter(table))
        raise Refused("config", f"the plugin takes no settings: take `{name}` out of its config", name)
    try:
        return _made(default, table)
    except Refused:
        raise
    except Exception as error:
        if is_validation_error(error):
            raise _invalid(error) from None
        raise Refused(
            "config", f"{type(default).__name__} does not take the configuration: {places.described(error)}"
        ) from error


def _made(default: Any, table: dict[str, Any]) -> Any:
    cls = type(default)
    if isinstance(default, dict):
        return {**default, **table}
    if dataclasses.is_dataclass(default):
        _check(table, [field.name for field in dataclasses.fields(default) if field.init])
        return dataclasses.replace(default, **table)
    if is_model(default):
        fields = cls.model_fields
        aliases = {field.alias for field in fields.values() if getattr(field, "alias", None)}
        if getattr(cls, "model_config", {}).get("extra") != "allow":
            _check(table, [*fields, *sorted(aliases)])
        return cls.model_validate({**default.model_dump(exclude_unset=True), **table})
    known = [
        name for name in dir(default) if not name.startswith("_") and not callable(getattr(default, name))
    ]
    parameters = _parameters(cls)
    if parameters is not None and set(table) <= set(parameters):
        values = {name: getattr(default, name) for name in parameters if hasattr(default, name)}
        return cls(**{**values, **table})
    _check(table, sorted({*known, *(parameters or ())}))
    made = copy.copy(default)
    for name, value in table.items():
        setattr(made, name, value)
    return made


def _parameters(cls: type) -> list[str] | None:
    """The names that the class's constructor takes, or None if it takes none by name."""
    if cls.__init__ is object.__init__:
        return None
    found = list(inspect.signature(cls).parameters.values())
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in found if each.kind in by_name] or None


def _check(table: dict[str, Any], known: list[str]) -> None:
    for name in table:
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        if close:
            hint = f"did you mean `{close[0]}`?"
        else:
            hint = f"it has {', '.join(f'`{each}`' for each in known)}" if known else "it has none"
        raise Refused("config", f"the plugin has no setting `{name}`: {hint}", name)


def _invalid(error: Any) -> Refused:
    found = error.errors()
    path = ".".join(map(str, found[0]["loc"])) if found and found[0]["loc"] else None
    kinds = ", ".join(f"{'.'.join(map(str, each['loc'])) or 'config'}: {each['type']}" for each in found[:8])
    return Refused("config", f"the plugin does not take these settings: {kinds}", path)
