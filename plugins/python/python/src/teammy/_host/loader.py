"""Imports the package `plugin` of a folder, finds its one plugin class, and asks it for its metadata."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import sys
from typing import Any

from teammy._host.errors import Places, Refused, name_of, printable
from teammy._host.model import is_model
from teammy._host.values import to_json
from teammy.api.plugin import InCallPlugin, InCallPluginMetadata

PACKAGE = "plugin"


def root_of(folder: str) -> str:
    """The folder that goes to `sys.path`: `src` of the plugin's folder, or the folder itself."""
    for root in (os.path.join(folder, "src"), folder):
        if os.path.isdir(os.path.join(root, PACKAGE)) or os.path.isfile(os.path.join(root, f"{PACKAGE}.py")):
            return root
    raise Refused(
        "import",
        f"{folder} has no package `plugin`: a plugin is a folder src/plugin with an __init__.py, or a "
        "file plugin.py",
    )


def load(folder: str, places: Places) -> type[InCallPlugin]:
    """The plugin class of a folder."""
    root = root_of(folder)
    if root not in sys.path:
        sys.path.insert(0, root)
    importlib.invalidate_caches()
    package = _imported(PACKAGE, places)
    if not _candidates():
        # A package whose __init__.py imports nothing: the class is in one of its modules.
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            if not module.name.startswith("_"):
                _imported(f"{PACKAGE}.{module.name}", places)
    return _the_one(_candidates())


def _imported(name: str, places: Places) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _missing(error, places) from error
    except SyntaxError as error:
        path = places.own(error.filename or "") or error.filename
        raise Refused("import", f"{name_of(error)} at {path}:{error.lineno}: {error.msg}") from error
    except ImportError as error:
        raise Refused("import", f"{places.described(error)}: {printable(str(error))}") from error
    except (Exception, SystemExit) as error:
        raise Refused("import", f"importing `{name}` failed: {places.described(error)}") from error


def _missing(error: ModuleNotFoundError, places: Places) -> Refused:
    name = error.name or ""
    top, at = name.partition(".")[0], places.last(error.__traceback__)
    where = f" ({at})" if at else ""
    if top in (PACKAGE, "teammy"):
        owner = "the plugin" if top == PACKAGE else "Teammy's Python API"
        return Refused("import", f"{owner} has no module `{name}`{where}: correct the import")
    return Refused(
        "missing-dependency",
        f"the plugin imports `{name}`{where}, which {sys.executable} does not find: add the package that "
        "provides it to the plugin's pyproject.toml or requirements.txt and run `teammy install`, or "
        "install it into the plugin's virtual environment",
    )


def _candidates() -> list[type]:
    found: list[type] = []
    seen: set[type] = set()
    queue = list(InCallPlugin.__subclasses__())
    while queue:
        cls = queue.pop(0)
        if cls in seen:
            continue
        seen.add(cls)
        queue.extend(cls.__subclasses__())
        if cls.__module__ == PACKAGE or cls.__module__.startswith(f"{PACKAGE}."):
            found.append(cls)
    return found


def _the_one(candidates: list[type]) -> type[InCallPlugin]:
    concrete = [cls for cls in candidates if not inspect.isabstract(cls)]
    if len(concrete) > 1:
        names = " and ".join(f"`{class_name(cls)}`" for cls in concrete)
        raise Refused(
            "several-plugin-classes",
            f"the package `plugin` has several plugin classes, {names}: keep one, and make a plugin of "
            "its own of each other one",
        )
    if concrete:
        check_class(concrete[0])
        return concrete[0]
    if candidates:
        check_class(candidates[-1])
    raise Refused(
        "no-plugin-class",
        "the package `plugin` has no class that derives from teammy.api.plugin.InCallPlugin: define "
        "one, or import its module in plugin/__init__.py",
    )


def class_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def check_class(cls: type) -> None:
    """Refuses a class that lacks methods."""
    missing = [name for name in vars(InCallPlugin) if name in getattr(cls, "__abstractmethods__", ())]
    if missing:
        raise Refused(
            "abstract-methods",
            f"`{class_name(cls)}` lacks {', '.join(missing)}: define each as an async class method; one "
            "that has nothing to do is `pass`",
        )
    plain = [name for name in InCallPlugin.__abstractmethods__ if inspect.isfunction(_raw(cls, name))]
    if plain:
        raise Refused(
            "abstract-methods",
            f"`{class_name(cls)}` has methods without @classmethod: {', '.join(sorted(plain))}: put "
            "@classmethod before each, because the class is never instantiated",
        )


def _raw(cls: type, name: str) -> Any:
    return inspect.getattr_static(cls, name)


async def metadata_of(cls: type[InCallPlugin], places: Places) -> InCallPluginMetadata:
    """The plugin's metadata, checked."""
    found = await asked(cls.get_metadata, places)
    lacks = [name for name in ("name", "version", "sources", "config") if not hasattr(found, name)]
    if lacks:
        raise Refused(
            "metadata",
            f"get_metadata returned {type(found).__name__} without {', '.join(lacks)}: return "
            "InCallPluginMetadata(name, version, sources, config)",
        )
    for name in ("name", "version"):
        value = getattr(found, name)
        if not isinstance(value, str) or not value:
            raise Refused(
                "metadata", f"the metadata's {name} is {type(value).__name__}: give a text that is not empty"
            )
    sources = found.sources
    if not isinstance(sources, (list, tuple, set, frozenset)) or not all(
        isinstance(each, str) for each in sources
    ):
        raise Refused(
            "metadata", "the metadata's sources are not a list of str: name the sources that have hooks"
        )
    return found


async def asked(method: Any, places: Places, *args: Any) -> Any:
    """What a method of the plugin returns; its error refuses the plugin."""
    name = getattr(method, "__name__", "the method")
    try:
        made = method(*args)
        return await made if inspect.isawaitable(made) else made
    except Exception as error:
        raise Refused("failed", f"{name} failed: {places.described(error, method)}") from error


def config_json(config: Any) -> Any:
    """The metadata's configuration as JSON, or None if it has none that JSON can hold."""
    if config is None:
        return None
    plain = is_model(config) or dataclasses.is_dataclass(config) or isinstance(config, dict)
    value = (
        config if plain else {name: each for name, each in vars(config).items() if not name.startswith("_")}
    )
    try:
        return json.loads(to_json(value, "the configuration"))
    except (TypeError, ValueError):
        return None
