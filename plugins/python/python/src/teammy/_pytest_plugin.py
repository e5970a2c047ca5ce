"""The pytest fixture `plugin_test`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def plugin_test() -> Iterator[Callable[..., Any]]:
    """Makes a `teammy.testing.PluginTest`, with the same arguments, and closes it when the test ends."""
    from teammy.testing import PluginTest

    made: list[PluginTest] = []

    def make(*args: Any, **options: Any) -> PluginTest:
        made.append(PluginTest(*args, **options))
        return made[-1]

    yield make
    for each in reversed(made):
        each.close()
