"""Counts packets in the datastore, with hooks of two arguments. Each output shows all that came before it."""

import json

from teammy.api.plugin import DataPacket, InCallPlugin, InCallPluginMetadata, MeetingEngine, MeetingMetadata, PluginConfig


class Keys(InCallPlugin):
    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(name="keys", version="1.0.0", sources=["transcription"], config=PluginConfig())

    @classmethod
    async def on_install(cls) -> None:
        pass

    @classmethod
    async def on_startup(cls, config: PluginConfig) -> None:
        pass

    @classmethod
    async def get_data_receive_hooks(cls) -> dict:
        return {"transcription": cls.on_transcription}

    @classmethod
    async def on_meeting_start(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        await engine.datastore().set(meeting_info, "started", True)

    @classmethod
    async def on_meeting_end(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_shutdown(cls, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_transcription(cls, packet: DataPacket, engine: MeetingEngine) -> object:
        info, store = packet.meeting_metadata, engine.datastore()
        count = (await store.get(info, "count") or 0) + 1
        await store.set(info, "count", count)
        if count % 3 == 0:
            return None
        text = json.loads(packet.data)["text"]
        earlier = await store.get_stream_history(info, 5) if count % 10 == 1 else []
        return {"count": count, "characters": len(text), "earlier": len(earlier), "started": await store.get(info, "started")}
