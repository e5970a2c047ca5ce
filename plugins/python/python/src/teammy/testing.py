"""Tests of plugins without a node.

```python
from plugin import QuestionLog
from teammy.testing import PluginTest, ScriptedModel

def test_counts_questions():
    model = ScriptedModel(["Two questions."])
    with PluginTest(QuestionLog, config={"summary": True}, model=model) as meeting:
        assert meeting.publish("transcription", {"text": "Why?", "is_final": True}) == [{"number": 1}]
        meeting.end()
        assert meeting.keys["summary"] == "Two questions."
```

The hooks run through the same code as in the host. What differs: keys, outputs and the state are in memory,
and one hook runs at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import inspect
import json as jsons
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from teammy._host.config import config_of
from teammy._host.errors import PacketRejected, Places, Refused
from teammy._host.hooks import Hook, checked_hooks
from teammy._host.loader import asked, check_class, metadata_of
from teammy._host.logs import LogHandler, LogStream
from teammy._host.model import is_model
from teammy._host.running import Effects, Running, run_event, run_hook
from teammy._host.values import Output, Packet, microseconds, to_json, to_output
from teammy._host.watch import ClassWatch
from teammy.api.data import MeetingMetadata
from teammy.api.engine import LLMError, MeetingEngine
from teammy.api.plugin import InCallPlugin, PluginConfig

__all__ = ["LogLine", "NoAnswerLeft", "PacketRejected", "PluginTest", "Prompt", "Refused", "ScriptedModel"]

_START = datetime.datetime(2026, 1, 1, 9, 0, tzinfo=datetime.timezone.utc)
_SECOND = datetime.timedelta(seconds=1)


class NoAnswerLeft(AssertionError):
    """The plugin prompted more often than the `ScriptedModel` has answers."""


@dataclass(frozen=True)
class Prompt:
    """A prompt that the plugin made. `fast` tells `fast_prompt` from `prompt`."""

    messages: list[dict]
    temperature: float
    fast: bool

    @property
    def text(self) -> str:
        """The contents of all messages, one a paragraph."""
        return "\n\n".join(str(message.get("content", "")) for message in self.messages)


@dataclass(frozen=True)
class LogLine:
    """A line that the plugin printed or logged; the logger of a printed one is `stdout` or `stderr`."""

    level: str
    logger: str
    text: str


Answer = Any
AnswerFunction = Callable[[Prompt], "Answer | Awaitable[Answer]"]


class ScriptedModel:
    """A language model that gives prepared answers, in order or by a function of the prompt.

    An answer is a text; an exception, which the prompt raises; or anything else, which becomes JSON.
    `prompts` has the prompts so far.
    """

    def __init__(self, answers: Iterable[Answer] | AnswerFunction = ()) -> None:
        self.prompts: list[Prompt] = []
        self.failure: NoAnswerLeft | None = None
        self._function = answers if callable(answers) else None
        self._answers = [] if callable(answers) else [answers] if isinstance(answers, str) else list(answers)

    @property
    def answers_left(self) -> int:
        return len(self._answers)

    async def answer(self, prompt: Prompt) -> str:
        self.prompts.append(prompt)
        if self._function is not None:
            answer = self._function(prompt)
            if inspect.isawaitable(answer):
                answer = await answer
        elif self._answers:
            answer = self._answers.pop(0)
        else:
            self.failure = NoAnswerLeft(
                f"the ScriptedModel has no answer left for prompt number {len(self.prompts)}: "
                f"{prompt.text[:200]!r}"
            )
            raise self.failure
        if isinstance(answer, BaseException) or (
            isinstance(answer, type) and issubclass(answer, BaseException)
        ):
            raise answer
        return answer if isinstance(answer, str) else to_json(answer, "the model's answer").decode()


class PluginTest:
    """One instance of a plugin in one meeting.

    `config` is the operator's table, or a `PluginConfig`; `name` is the instance's, by default the plugin's;
    `model` is a `ScriptedModel`, or the answers of one; `json="value"` gives 0.2 hooks parsed JSON in the
    place of its text. Raises `Refused` for what a node would refuse, with the same message.

    - `outputs`: all outputs so far, JSON as Python values;
    - `keys`: the datastore;
    - `state`: the state of 0.3 hooks, or None as long as no hook has changed it;
    - `log`: what the plugin printed and logged;
    - `errors`: what hooks have raised.
    """

    def __init__(
        self,
        plugin_class: type[InCallPlugin],
        *,
        config: dict[str, Any] | PluginConfig | None = None,
        name: str | None = None,
        model: ScriptedModel | Iterable[Answer] | AnswerFunction | None = None,
        meeting: str = "test-meeting",
        json: str = "text",
    ) -> None:
        if json not in ("text", "value"):
            raise ValueError('json is "text" or "value"')
        self.plugin_class = plugin_class
        self.meeting = meeting
        self.model = model if isinstance(model, ScriptedModel) or model is None else ScriptedModel(model)
        self.outputs: list[Any] = []
        self.log: list[LogLine] = []
        self.errors: list[BaseException] = []
        self._json = json
        self._stored: dict[str, bytes] = {}
        self._state: bytes | None = None
        self._history: list[Packet] = []
        self._seq = 0
        self._now = _START
        self._started = self._ended = self._closed = False
        self._places = Places(os.path.dirname(inspect.getfile(plugin_class)))
        self._loop = asyncio.new_event_loop()
        self._hooks: dict[str, Hook] = {}
        self._watch: ClassWatch | None = None
        self.name = name or ""
        try:
            self._do(self._load(config, name))
        except BaseException:
            self._loop.close()
            raise

    async def _load(self, config: dict[str, Any] | PluginConfig | None, name: str | None) -> None:
        check_class(self.plugin_class)
        metadata = await metadata_of(self.plugin_class, self._places)
        self.name = name or metadata.name
        made = config_of(metadata.config, config or {}, self._places) if _is_table(config) else config
        await asked(self.plugin_class.on_startup, self._places, made)
        found = await asked(self.plugin_class.get_data_receive_hooks, self._places)
        self._hooks = checked_hooks(found, list(metadata.sources))
        self._watch = ClassWatch(
            self.plugin_class, lambda text: self.log.append(LogLine("warning", "teammy", text))
        )

    # What a test does

    def start(self) -> None:
        """Runs on_meeting_start. The first `publish` does this if nobody has."""
        if not self._started:
            self._started = True
            self._event(self.plugin_class.on_meeting_start)

    def publish(
        self,
        source: str,
        payload: Any,
        participant: str | None = None,
        timestamp: datetime.datetime | None = None,
        *,
        catch: bool = False,
    ) -> list[Any]:
        """Publishes a packet, and returns what the plugin puts out for it: nothing, or one output.

        Text and bytes are packets of these kinds, anything else is JSON. What the hook raises comes out
        here, and nothing is left of what it did; with `catch=True` it is only added to `errors`. Without a
        timestamp each packet is a second later than the one before.
        """
        self._check_open()
        hook = self._hooks.get(source)
        if hook is None:
            raise ValueError(
                f"the plugin has no hook for {source!r}; it has {', '.join(map(repr, self._hooks))}"
            )
        self.start()
        self._now = timestamp if timestamp is not None else self._now + _SECOND
        self._seq += 1
        packet = Packet(self._seq, microseconds(self._now), participant, *_published(payload))
        try:
            effects = self._run(lambda run: run_hook(hook, run, packet, self._state))
        except Exception as error:
            self.errors.append(error)
            if catch and not isinstance(error, NoAnswerLeft):
                return []
            raise
        if effects.output is None:
            return []
        self._seq += 1
        self._history.append(Packet(self._seq, packet.timestamp, None, *effects.output))
        self.outputs.append(_value(effects.output))
        return [_value(effects.output)]

    def end(self) -> None:
        """Runs on_meeting_end, once."""
        if not self._ended:
            self.start()
            self._ended = True
            self._event(self.plugin_class.on_meeting_end)

    def close(self) -> None:
        """Runs on_shutdown, once, and closes the event loop."""
        if self._closed:
            return
        self._closed = True
        try:
            run = self._running(None)
            self._do(run_event(self.plugin_class.on_shutdown, run, (MeetingEngine(),)))
        finally:
            self._do(_cancel_others())
            self._loop.close()

    def __enter__(self) -> PluginTest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def keys(self) -> dict[str, Any]:
        return {key: jsons.loads(value) for key, value in self._stored.items()}

    @property
    def state(self) -> Any:
        return None if self._state is None else jsons.loads(self._state)

    def set_key(self, key: str, value: Any) -> None:
        """Prepares a key, as an earlier run of the plugin would have left it."""
        self._stored[key] = to_json(value, f"the value for the key {key!r}")

    def set_state(self, value: Any) -> None:
        """Prepares the state of 0.3 hooks."""
        self._state = None if value is None else to_json(value, "the state")

    # How it runs

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the PluginTest is closed")

    def _running(self, meeting: str | None) -> Running:
        return Running(_Memory(self), meeting, MeetingMetadata(meeting, self.name), self._json, {}, 0)

    def _event(self, function: Any) -> None:
        self._check_open()
        info = MeetingMetadata(self.meeting, self.name)
        self._run(lambda run: run_event(function, run, (info, MeetingEngine())))

    def _run(self, start: Callable[[Running], Any]) -> Effects:
        run = self._running(self.meeting)
        failed = self.model.failure if self.model else None
        effects = self._do(start(run))
        if self.model is not None and self.model.failure is not failed:
            # The plugin has caught it, which must not hide it from the test.
            raise self.model.failure  # type: ignore[misc]
        self._stored.update(effects.keys)
        if effects.state is not None:
            self._state = effects.state
        if self._watch is not None:
            self._watch.hook_ended()
        return effects

    def _do(self, coroutine: Any) -> Any:
        if _loop_runs():
            coroutine.close()
            raise RuntimeError("PluginTest has an event loop of its own: use it in a test that is not async")
        with self._captured():
            return self._loop.run_until_complete(coroutine)

    @contextlib.contextmanager
    def _captured(self) -> Iterator[None]:
        def sink(level: str, meeting: str | None, logger: str, text: bytes) -> None:
            self.log.append(LogLine(level, logger, text.decode()))

        stdout, stderr = LogStream("stdout", 1, sink, sys.stdout), LogStream("stderr", 2, sink, sys.stderr)
        handler, root = LogHandler(sink), logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(min(level, logging.INFO) if level else logging.INFO)
        try:
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                yield
        finally:
            stdout.finish_all()
            stderr.finish_all()
            root.removeHandler(handler)
            root.setLevel(level)


class _Memory:
    """Answers what hooks ask for."""

    def __init__(self, test: PluginTest) -> None:
        self._test = test

    def flush(self) -> None:
        """Nothing is held back."""

    async def get(self, key: str) -> bytes | None:
        return self._test._stored.get(key)

    async def history(self, last: int, within: int | None) -> list[Packet]:
        test = self._test
        packets = test._history
        if within is not None:
            oldest = microseconds(test._now) - within
            packets = [packet for packet in packets if packet.timestamp >= oldest]
        return packets[-last:] if last else list(packets)

    async def prompt(self, op: str, messages: bytes, temperature: float) -> str:
        if self._test.model is None:
            raise LLMError("no-model", "the test has no model: pass model=ScriptedModel([...]) to PluginTest")
        return await self._test.model.answer(Prompt(jsons.loads(messages), temperature, op == "fast_prompt"))


def _is_table(config: Any) -> bool:
    return config is None or (isinstance(config, dict) and not isinstance(config, PluginConfig))


def _published(payload: Any) -> tuple[str, bytes]:
    if payload is None or is_model(payload):
        return "json", to_json(payload, "the payload")
    output = to_output(payload)
    assert output is not None
    return output.kind, output.payload


def _value(output: Output) -> Any:
    if output.kind == "bytes":
        return output.payload
    text = output.payload.decode()
    return jsons.loads(text) if output.kind == "json" else text


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _cancel_others() -> None:
    """Ends what the plugin's hooks have left running."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
