"""Asks a language model which actions the words of a meeting call for. For version 0.2 of the API."""

import json
import logging
from dataclasses import dataclass

from pydantic import BaseModel, TypeAdapter, ValidationError

from teammy.api.plugin import (
    DataPacket,
    InCallPlugin,
    InCallPluginMetadata,
    MeetingEngine,
    MeetingMetadata,
    PluginConfig,
)

logger = logging.getLogger(__name__)

CONTEXT_CHARS = 1_000
VALIDATION_ERROR = "Validation error occurred."


class Transcription(BaseModel):
    """What a packet of source `transcription` carries."""

    text: str


class ActionCall(BaseModel):
    """An action, as the model answers it."""

    action: str
    parameters: dict[str, str] = {}


ACTION_CALLS = TypeAdapter(list[ActionCall])


POSSIBLE_ACTIONS = [
    {
        "action": "web-search",
        "description": "Somebody wants to know something that can be found on the web",
        "parameters": {"query": "what to search for"},
    },
    {
        "action": "create-task",
        "description": "Somebody takes on a piece of work",
        "parameters": {"title": "what to do", "assignee": "who does it"},
    },
]


@dataclass(frozen=True)
class LLMActionPluginConfig(PluginConfig):
    possible_actions: list[str]


class LLMActionPlugin(InCallPlugin):
    config: LLMActionPluginConfig

    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(
            name="llm-action",
            version="0.0.1",
            sources=["transcription"],
            config=LLMActionPluginConfig(possible_actions=POSSIBLE_ACTIONS),
        )

    @classmethod
    async def on_install(cls):
        pass

    @classmethod
    async def on_startup(cls, config: PluginConfig):
        cls.config = config

    @classmethod
    async def get_data_receive_hooks(cls) -> dict[str, InCallPlugin.HookFunction]:
        return {"transcription": transcription_handler}

    @classmethod
    async def on_meeting_start(cls, meeting_info: MeetingMetadata, engine: MeetingEngine):
        logger.info("meeting %s starts", meeting_info.meeting_id)

    @classmethod
    async def on_meeting_end(cls, meeting_info: MeetingMetadata, engine: MeetingEngine):
        used = await engine.datastore().get(meeting_info, "used_actions") or []
        logger.info("meeting %s ends after %d actions", meeting_info.meeting_id, len(used))

    @classmethod
    async def on_shutdown(cls, engine: MeetingEngine):
        pass


async def transcription_handler(packet: DataPacket, engine: MeetingEngine) -> str:
    info = packet.meeting_metadata
    datastore = engine.datastore()
    segment = Transcription.model_validate_json(packet.data)

    running = await datastore.get(info, "running_transcription") or ""
    running = running[-CONTEXT_CHARS:] + segment.text + "\n"
    await datastore.set(info, "running_transcription", running)
    used = await datastore.get(info, "used_actions") or []

    answer = await engine.llm().prompt(
        messages=[
            {"role": "user", "content": instructions(LLMActionPlugin.config.possible_actions, used)},
            {"role": "user", "content": running},
        ],
        temperature=0.0,
    )
    try:
        calls = ACTION_CALLS.validate_python(last_json_list(answer))
    except ValidationError as error:
        logger.warning("the model's answer holds no list of actions: %d errors", error.error_count())
        return VALIDATION_ERROR
    await datastore.set(info, "used_actions", used + [call.model_dump() for call in calls])
    return answer


def instructions(possible_actions: list[dict], used_actions: list[dict]) -> str:
    """Return the first message of the prompt."""
    return (
        "The next message is the transcription of a meeting. "
        "Which of these actions do its last words call for?\n"
        f"{json.dumps(possible_actions, indent=2, ensure_ascii=False)}\n"
        "These actions were called for before. Do not repeat them:\n"
        f"{json.dumps(used_actions, ensure_ascii=False)}\n"
        'Think first. Then answer with a JSON list of objects with the keys "action" and "parameters". '
        "If nothing is called for, answer with an empty list."
    )


def last_json_list(answer: str) -> list | None:
    """Return the last JSON list in an answer that may hold other text, or None."""
    decoder = json.JSONDecoder()
    found = None
    start = answer.find("[")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(answer, start)
        except json.JSONDecodeError:
            end = start + 1
        start = answer.find("[", end)
    return found
