"""What the loader, the hooks and the configuration say about plugins that they refuse."""

from __future__ import annotations

import textwrap

import pytest
from node import Node, plugin_text


@pytest.fixture
def load(tmp_path):
    """Writes a plugin's files, and gives the answer to `load`, or to `startup` if that is asked for."""
    nodes = []

    def run(files: dict[str, str] | str, startup: dict | None = None):
        if isinstance(files, str):
            files = {"plugin/__init__.py": files}
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        node = Node(tmp_path)
        nodes.append(node)
        answer = node.load()
        if startup is not None:
            assert answer["type"] == "loaded", answer
            answer = node.request({"type": "startup", "config": startup})
        return answer

    yield run
    for node in nodes:
        node.close()


HOOK = "async def hook(packet, engine): pass"


@pytest.mark.parametrize(
    "name", ["plugin.py", "plugin/__init__.py", "src/plugin.py", "src/plugin/__init__.py"]
)
def test_where_the_package_may_be(load, name):
    assert load({name: plugin_text(HOOK)})["plugin"]["class"] == "plugin.P"


def test_the_class_may_be_in_a_module(load):
    text = plugin_text(HOOK)
    assert (
        load({"src/plugin/__init__.py": "", "src/plugin/main.py": text})["plugin"]["class"] == "plugin.main.P"
    )


def test_an_abstract_base_does_not_count(load):
    base = "\nclass Base(InCallPlugin):\n    pass\n"
    assert load(plugin_text(HOOK) + base)["type"] == "loaded"


@pytest.mark.parametrize(
    ("files", "code", "parts"),
    [
        ({"other.py": ""}, "import", ["no package `plugin`", "plugin.py"]),
        (
            "import no_such_module",
            "missing-dependency",
            ["`no_such_module`", "plugin/__init__.py:1", "teammy install"],
        ),
        ("from plugin import nothing.x", "import", ["SyntaxError at plugin/__init__.py:1"]),
        ("import plugin.nothing", "import", ["the plugin has no module `plugin.nothing`"]),
        ("import teammy.api.engines", "import", ["no module `teammy.api.engines`"]),
        ("from teammy.api.data import Nothing", "import", ["ImportError at plugin/__init__.py:1", "Nothing"]),
        ("1 / 0", "import", ["ZeroDivisionError at plugin/__init__.py:1 in <module>"]),
        ("raise ValueError('secret')", "import", ["ValueError at plugin/__init__.py:1"]),
        ("import sys; sys.exit(3)", "import", ["SystemExit at plugin/__init__.py:1"]),
        ("", "no-plugin-class", ["InCallPlugin"]),
        (plugin_text(HOOK) + "\nclass Q(P): pass\n", "several-plugin-classes", ["`plugin.P`", "`plugin.Q`"]),
        (
            "from teammy.api.plugin import *\nclass P(InCallPlugin):\n"
            "    @classmethod\n    async def on_install(cls): pass\n",
            "abstract-methods",
            ["`plugin.P` lacks get_metadata, on_startup, get_data_receive_hooks, on_meeting_start"],
        ),
        (
            plugin_text(HOOK, methods="async def on_install(self): pass"),
            "abstract-methods",
            ["without @classmethod: on_install"],
        ),
        (
            plugin_text(HOOK, methods="@classmethod\nasync def get_metadata(cls): return None"),
            "metadata",
            ["NoneType", "InCallPluginMetadata"],
        ),
        (
            plugin_text(HOOK, methods="@classmethod\nasync def get_metadata(cls): raise KeyError('secret')"),
            "failed",
            ["get_metadata failed: KeyError at plugin/__init__.py:"],
        ),
        (
            plugin_text(
                HOOK,
                methods="@classmethod\nasync def get_metadata(cls): "
                "return InCallPluginMetadata('p', '1', 'chat', None)",
            ),
            "metadata",
            ["sources are not a list of str"],
        ),
    ],
)
def test_what_is_refused(load, files, code, parts):
    refused = load(files)
    assert refused["type"] == "refused", refused
    assert refused["code"] == code, refused
    for part in parts:
        assert part in refused["message"]
    assert "secret" not in refused["message"]


def hooks_text(hooks: str) -> str:
    return plugin_text(HOOK, methods=f"@classmethod\nasync def get_data_receive_hooks(cls): return {hooks}")


@pytest.mark.parametrize(
    ("hooks", "parts"),
    [
        ("{}", ["sources name 'chat'", "add the hook"]),
        ("{'chat': hook, 'voice': hook}", ["a hook for 'voice'", "add the source to the metadata"]),
        ("None", ["returned NoneType"]),
        ("{'chat': 5}", ["is int"]),
        ("{'chat': lambda packet: 1}", ["(packet, engine) or (packet, state, engine)"]),
        ("{'chat': lambda *args: 1}", ["both two and three", "functools.wraps"]),
    ],
)
def test_hooks_that_are_refused(load, hooks, parts):
    refused = load(hooks_text(hooks), startup={})
    assert (refused["type"], refused["code"]) == ("refused", "hooks")
    for part in parts:
        assert part in refused["message"]


DATACLASS = "@dataclass(frozen=True)\nclass C(PluginConfig):\n    limit: int = 3\n    name: str = 'n'\n"
PLAIN = "class C(PluginConfig):\n    limit = 3\n    name = 'n'\n"
CONSTRUCTED = (
    "class C(PluginConfig):\n"
    "    def __init__(self, limit=3, name='n'):\n        self.limit, self.name = limit, name\n"
)
MODEL = "class C(PluginState):\n    limit: int = 3\n    name: str = 'n'\n"
SHOW = "async def hook(packet, engine): return [P.config.limit, P.config.name]\n"


@pytest.mark.parametrize("config", [DATACLASS, PLAIN, CONSTRUCTED, MODEL])
def test_configurations(start, config):
    for table, expected in (
        ({}, b'[3,"n"]'),
        ({"limit": 4}, b'[4,"n"]'),
        ({"limit": 4, "name": "m"}, b'[4,"m"]'),
    ):
        node = start(config + SHOW, config="C()", table=table)
        assert node.result("x").blobs == [expected]


@pytest.mark.parametrize("config", [DATACLASS, PLAIN, CONSTRUCTED, MODEL])
def test_an_unknown_setting(load, config):
    refused = load(plugin_text(config + SHOW, config="C()"), startup={"limits": 4})
    assert (refused["code"], refused["path"]) == ("config", "limits")
    assert "did you mean `limit`?" in refused["message"]


def test_settings_that_do_not_validate(load):
    refused = load(plugin_text(MODEL + SHOW, config="C()"), startup={"limit": "secret"})
    assert (refused["code"], refused["path"]) == ("config", "limit")
    assert "limit: int_parsing" in refused["message"] and "secret" not in refused["message"]


def test_a_plugin_without_settings(load):
    refused = load(plugin_text(HOOK), startup={"limit": 4})
    assert (refused["code"], refused["path"]) == ("config", "limit") and "takes no settings" in refused[
        "message"
    ]


def test_annotations_that_only_type_checkers_see(start):
    node = start(
        """
        class Said(DataPacket):
            text: str
        async def hook(packet: "Said | None", state: "Nowhere", engine: "Nowhere"): return packet.text, state
        """
    )
    assert node.result({"text": "a"}, state=None).blobs == [b"a"]


def test_a_hook_may_take_several_classes(start):
    node = start(
        """
        from typing import Union
        class Said(DataPacket):
            text: str
        class Typed(DataPacket):
            keys: str
        async def hook(packet: Union[Said, Typed], state: "Unknown", engine):
            return type(packet).__name__, state
        """
    )
    assert node.result({"text": "a"}, {"keys": "b"}, state=None).blobs == [b"Said", b"Typed"]
    assert node.result({"other": 1}, state=None)["error"]["at"].startswith("text: missing")
