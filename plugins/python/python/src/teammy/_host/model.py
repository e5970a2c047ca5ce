"""The base class of the API's data classes: pydantic's, or a small one of the same shape.

A plugin whose environment has pydantic 2 gets real pydantic models. Any other plugin gets `SmallModel`,
which has the same methods for the types that JSON has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from pydantic import BaseModel, ValidationError

    HAS_PYDANTIC = hasattr(BaseModel, "model_validate")
except ImportError:
    HAS_PYDANTIC = False

if TYPE_CHECKING:
    # Type checkers see the same class with and without pydantic.
    from teammy._host.small_model import SmallModel as Model

    def fill(model: Any, fields: dict, extras: dict) -> None: ...
    def give(model: Any, data: Any) -> None: ...
    def given(model: Any) -> tuple: ...

elif HAS_PYDANTIC:

    class _Meta(type(BaseModel)):
        """Subclasses of an API class ignore unknown fields, as pydantic models do unless they say otherwise.

        `DataPacket` and `PluginState` keep unknown fields, and pydantic would pass that on.
        """

        def __new__(mcs, name: str, bases: tuple, namespace: dict, **kwargs: Any) -> Any:
            config = namespace.get("model_config") or vars(namespace.get("Config", object))
            if "extra" not in kwargs and "extra" not in config:
                if any(base.__module__ == "teammy.api.data" for base in bases):
                    kwargs["extra"] = "ignore"
            return super().__new__(mcs, name, bases, namespace, **kwargs)

    class Model(BaseModel, metaclass=_Meta):
        """A pydantic model."""

    def fill(model: Any, fields: dict, extras: dict) -> None:
        """Initialises a model of open fields without validation."""
        put = object.__setattr__
        put(model, "__dict__", fields)
        put(model, "__pydantic_fields_set__", set(fields))
        put(model, "__pydantic_extra__", extras)
        put(model, "__pydantic_private__", None)

    def give(model: Any, data: Any) -> None:
        """Attaches data to a model, which is no field of it."""
        object.__setattr__(model, "__pydantic_private__", {"given": data})

    def given(model: Any) -> tuple:
        """The attached data as a tuple of one, or an empty tuple."""
        private = model.__pydantic_private__
        return (private["given"],) if private and "given" in private else ()

else:
    from teammy._host import small_model

    Model = small_model.SmallModel
    ValidationError = small_model.ValidationError

    def fill(model: Any, fields: dict, extras: dict) -> None:
        """Initialises a model of open fields without validation."""
        model.__dict__.update(fields)
        model.__dict__.update(extras)

    def give(model: Any, data: Any) -> None:
        """Attaches data to a model, which is no field of it."""
        object.__setattr__(model, "_given", data)

    def given(model: Any) -> tuple:
        """The attached data as a tuple of one, or an empty tuple."""
        try:
            return (object.__getattribute__(model, "_given"),)
        except AttributeError:
            return ()


def is_model(value: object) -> bool:
    """Whether this is a model of pydantic 2, or one of ours."""
    return hasattr(type(value), "model_dump") and hasattr(type(value), "model_validate")


def is_validation_error(error: BaseException) -> bool:
    return isinstance(error, ValidationError)


def problems(error: BaseException, most: int = 8) -> str:
    """The fields that did not validate and the kind of each problem, without any value."""
    found = error.errors()
    named = [f"{'.'.join(map(str, each['loc'])) or 'payload'}: {each['type']}" for each in found[:most]]
    if len(found) > most:
        named.append(f"and {len(found) - most} more")
    return ", ".join(named)
