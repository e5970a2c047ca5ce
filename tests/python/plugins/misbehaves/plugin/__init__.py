"""Does what a plugin must not do, as chat messages tell it."""

import os
import subprocess
import sys
import time

from teammy.api.plugin import DataPacket, InCallPlugin, InCallPluginMetadata, MeetingEngine, MeetingMetadata, PluginConfig


class Misbehaves(InCallPlugin):
    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(name="misbehaves", version="1.0.0", sources=["chat"], config=PluginConfig())

    @classmethod
    async def on_install(cls) -> None:
        pass

    @classmethod
    async def on_startup(cls, config: PluginConfig) -> None:
        pass

    @classmethod
    async def get_data_receive_hooks(cls) -> dict:
        return {"chat": on_chat}

    @classmethod
    async def on_meeting_start(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_meeting_end(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_shutdown(cls, engine: MeetingEngine) -> None:
        pass


async def on_chat(packet: DataPacket, engine: MeetingEngine) -> None:
    if '"loop"' in packet.data:
        while True:
            pass
    if '"eat"' in packet.data:
        held = []
        while True:
            held.append(bytearray(1 << 20))
    if '"fork"' in packet.data:
        # Two children that outlive their parent: one in the process group, one that leaves it.
        for starts_session in (False, True):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=starts_session)
        time.sleep(0.2)
        os._exit(1)
