"""Measures how loud a meeting is, from its sound. Written for version 0.2 of the API."""

import math
import struct
from dataclasses import dataclass

import numpy as np

from teammy.api.plugin import (
    DataPacket,
    InCallPlugin,
    InCallPluginMetadata,
    MeetingEngine,
    MeetingMetadata,
    PluginConfig,
)

# The layout's version, the sample rate, the channels, and the number of bytes of the samples that follow.
HEADER = struct.Struct("<BIHQ")
FULL_SCALE = 32_768.0
SILENCE_DB = -96.0


@dataclass(frozen=True)
class LoudnessConfig(PluginConfig):
    """After each `every` packets there is one output; 50 packets of 20 ms are a second."""

    every: int = 50


class Loudness(InCallPlugin):
    config: LoudnessConfig

    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(
            name="loudness", version="0.1.0", sources=["audio"], config=LoudnessConfig()
        )

    @classmethod
    async def on_install(cls) -> None:
        pass

    @classmethod
    async def on_startup(cls, config: LoudnessConfig) -> None:
        if config.every < 1:
            raise ValueError(f"`every` is {config.every}; choose 1 or more")
        cls.config = config

    @classmethod
    async def get_data_receive_hooks(cls) -> dict[str, InCallPlugin.HookFunction]:
        return {"audio": cls.on_audio}

    @classmethod
    async def on_meeting_start(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        await engine.datastore().set(meeting_info, "sums", empty_sums())

    @classmethod
    async def on_meeting_end(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        sums = await engine.datastore().get(meeting_info, "sums")
        print(f"{sums['packets']} packets of sound are left over")

    @classmethod
    async def on_shutdown(cls, engine: MeetingEngine) -> None:
        pass

    @classmethod
    async def on_audio(cls, packet: DataPacket, engine: MeetingEngine) -> dict | None:
        rate, channels, samples = read_frame(packet.data)
        datastore = engine.datastore()
        sums = await datastore.get(packet.meeting_metadata, "sums") or empty_sums()
        # In 64 bits: the square of -32768 is more than 16 and, summed up, more than 32 bits hold.
        wide = samples.astype(np.int64)
        sums["packets"] += 1
        sums["samples"] += int(wide.size)
        sums["squares"] += int(np.square(wide).sum())
        sums["peak"] = max(sums["peak"], int(np.abs(wide).max(initial=0)))
        sums["seconds"] += wide.size / (rate * channels)
        done = sums["packets"] >= cls.config.every
        await datastore.set(packet.meeting_metadata, "sums", empty_sums() if done else sums)
        return report(sums) if done else None


def empty_sums() -> dict:
    return {"packets": 0, "samples": 0, "squares": 0, "peak": 0, "seconds": 0.0}


def read_frame(data: bytes) -> tuple[int, int, np.ndarray]:
    """Return the rate, the channels and the samples of a packet of source `audio`."""
    version, rate, channels, length = HEADER.unpack_from(data)
    samples = memoryview(data)[HEADER.size :]
    if version != 1 or rate == 0 or channels == 0 or length != len(samples):
        raise ValueError(
            f"not a frame of sound: version {version}, {rate} Hz, {channels} channels, {length} bytes"
        )
    return rate, channels, np.frombuffer(samples, dtype="<i2")


def report(sums: dict) -> dict:
    """Return what the sums say, in decibels relative to full scale."""
    mean_square = sums["squares"] / sums["samples"] if sums["samples"] else 0.0
    return {
        "packets": sums["packets"],
        "seconds": round(sums["seconds"], 3),
        "rms_db": decibels(math.sqrt(mean_square)),
        "peak_db": decibels(sums["peak"]),
    }


def decibels(amplitude: float) -> float:
    return round(max(SILENCE_DB, 20 * math.log10(amplitude / FULL_SCALE)), 2) if amplitude else SILENCE_DB
