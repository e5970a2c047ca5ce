"""Says when a keyword was spoken or written. Written for version 0.2 of the API, without dependencies."""

import json
from dataclasses import dataclass, field

from teammy.api.plugin import (
    DataPacket,
    InCallPlugin,
    InCallPluginMetadata,
    MeetingEngine,
    MeetingMetadata,
    PluginConfig,
)


@dataclass(frozen=True)
class KeywordAlertConfig(PluginConfig):
    """Case does not matter. A keyword is found inside of words, too."""

    keywords: list[str] = field(default_factory=lambda: ["deadline", "blocker", "action item"])


async def on_transcription(packet: DataPacket, engine: MeetingEngine) -> str | None:
    said = json.loads(packet.data)
    if not said.get("is_final", True):
        return None
    return await alert(packet.meeting_metadata, "said", said["text"], engine)


async def on_chat(packet: DataPacket, engine: MeetingEngine) -> str | None:
    message = json.loads(packet.data)
    if message.get("to"):
        return None  # What is private stays private.
    return await alert(packet.meeting_metadata, "written", message["text"], engine)


async def alert(info: MeetingMetadata, how: str, text: str, engine: MeetingEngine) -> str | None:
    """Count the keywords of a text; return the alert, or None if it has none."""
    lower = text.casefold()
    found = [keyword for keyword in KeywordAlert.config.keywords if keyword.casefold() in lower]
    if not found:
        return None
    counts = await engine.datastore().get(info, "counts") or {}
    for keyword in found:
        counts[keyword] = counts.get(keyword, 0) + 1
    await engine.datastore().set(info, "counts", counts)
    times = ", ".join(f"{keyword} ({counts[keyword]})" for keyword in found)
    return f"{how}: {times}: {text.strip()}"


class KeywordAlert(InCallPlugin):
    config: KeywordAlertConfig

    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(
            name="keyword-alert",
            version="0.1.0",
            sources=["transcription", "chat"],
            config=KeywordAlertConfig(),
        )

    @classmethod
    async def on_install(cls) -> None:
        pass

    @classmethod
    async def on_startup(cls, config: KeywordAlertConfig) -> None:
        cls.config = config

    @classmethod
    async def get_data_receive_hooks(cls) -> dict[str, InCallPlugin.HookFunction]:
        return {"transcription": on_transcription, "chat": on_chat}

    @classmethod
    async def on_meeting_start(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_meeting_end(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        counts = await engine.datastore().get(meeting_info, "counts") or {}
        print(
            "keywords:",
            ", ".join(f"{keyword} {times}" for keyword, times in sorted(counts.items())) or "none",
        )

    @classmethod
    async def on_shutdown(cls, engine: MeetingEngine) -> None:
        pass
