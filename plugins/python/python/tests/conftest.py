from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from node import Node, plugin_text

try:
    distribution("teammy-plugin-api")
except PackageNotFoundError:
    pytest_plugins = ["teammy._pytest_plugin"]


@pytest.fixture
def start(tmp_path: Path):
    """Starts a node's process for a plugin; `hook` and the options are those of `plugin_text`."""
    nodes = []

    def begin(
        hook: str = "async def hook(packet, engine): pass", *, limit: int = 0, load: bool = True, **options
    ) -> Node:
        json = options.pop("json", "text")
        config = options.pop("table", None)
        folder = tmp_path / f"p{len(nodes)}"
        (folder / "plugin").mkdir(parents=True)
        (folder / "plugin" / "__init__.py").write_text(plugin_text(hook, **options))
        nodes.append(Node(folder, limit=limit))
        if load:
            nodes[-1].start(json, config)
        return nodes[-1]

    yield begin
    for node in nodes:
        node.close()
