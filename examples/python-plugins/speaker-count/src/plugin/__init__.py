"""Counts who is in a meeting: once wrong and once right. Written for version 0.2 of the API."""

import json
from dataclasses import dataclass

from teammy.api.plugin import (
    DataPacket,
    InCallPlugin,
    InCallPluginMetadata,
    MeetingEngine,
    MeetingMetadata,
    PluginConfig,
)

CHANGES = {"joined": 1, "left": -1}


@dataclass(frozen=True)
class SpeakerCountConfig(PluginConfig):
    """Where the count is kept: `class`, which is wrong, or `datastore`."""

    keep: str = "class"


class SpeakerCount(InCallPlugin):
    config: SpeakerCountConfig
    # The mistake. All meetings share it, a restart makes it 0, and a hook that fails has changed it anyway.
    present = 0

    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(
            name="speaker-count", version="0.1.0", sources=["participant"], config=SpeakerCountConfig()
        )

    @classmethod
    async def on_install(cls) -> None:
        pass

    @classmethod
    async def on_startup(cls, config: SpeakerCountConfig) -> None:
        if config.keep not in ("class", "datastore"):
            raise ValueError(f'`keep` is {config.keep!r}; choose "class" or "datastore"')
        cls.config = config

    @classmethod
    async def get_data_receive_hooks(cls) -> dict[str, InCallPlugin.HookFunction]:
        return {"participant": cls.keep_in_class if cls.config.keep == "class" else cls.keep_in_datastore}

    @classmethod
    async def on_meeting_start(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_meeting_end(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_shutdown(cls, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def keep_in_class(cls, packet: DataPacket, engine: MeetingEngine) -> dict[str, int] | None:
        """Count in the class: wrong."""
        change = change_of(packet)
        if change == 0:
            return None
        cls.present += change
        return {"present": cls.present}

    @classmethod
    async def keep_in_datastore(cls, packet: DataPacket, engine: MeetingEngine) -> dict[str, int] | None:
        """Count in the datastore: right."""
        change = change_of(packet)
        if change == 0:
            return None
        present = (await engine.datastore().get(packet.meeting_metadata, "present") or 0) + change
        await engine.datastore().set(packet.meeting_metadata, "present", present)
        return {"present": present}


def change_of(packet: DataPacket) -> int:
    """Return by how much an event changes the count; a new name does not."""
    return CHANGES.get(json.loads(packet.data)["event"], 0)
