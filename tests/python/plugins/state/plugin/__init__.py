"""Counts packets in its state, with hooks of three arguments."""

from teammy.api.data import DataPacket, PluginState
from teammy.api.engine import MeetingEngine
from teammy.api.plugin import InCallPlugin, InCallPluginMetadata, MeetingMetadata, PluginConfig


class Said(DataPacket):
    text: str


class Counts(PluginState):
    packets: int = 0
    words: int = 0


class Output(DataPacket):
    packets: int
    words: int


class State(InCallPlugin):
    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(name="state", version="1.0.0", sources=["transcription"], config=PluginConfig())

    @classmethod
    async def on_install(cls) -> None:
        pass

    @classmethod
    async def on_startup(cls, config: PluginConfig) -> None:
        pass

    @classmethod
    async def get_data_receive_hooks(cls) -> dict:
        return {"transcription": on_transcription}

    @classmethod
    async def on_meeting_start(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_meeting_end(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_shutdown(cls, engine: MeetingEngine) -> None:
        pass


async def on_transcription(said: Said, state: Counts, engine: MeetingEngine):
    state.packets += 1
    state.words += len(said.text.split())
    return Output(packets=state.packets, words=state.words), state
