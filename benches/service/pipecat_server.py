"""Serves Pipecat's pipeline for the bench `service`: one process, one event loop, a pipeline for each WebSocket.

The transport, the pipeline and the worker are Pipecat's own, as its examples use them. A binary message is the sound of
20 ms; a text message is a transcription, as JSON. Five processors do what the plugins of the bench do
(benches/service/plugins.rs). Prints its port, and ends when its input ends.
"""

import asyncio
import audioop
import json
import os
import re
import socket
import sys
import threading

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    OutputTransportMessageFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 16_000
SPEECH = 500
TERMS = ["action item", "follow up", "deadline", "to do", "next step", "blocker"]
WATCHED = re.compile(r"\b(?:" + "|".join(map(re.escape, TERMS)) + r")\b", re.IGNORECASE)


class Serializer(FrameSerializer):
    """Bytes are sound, text is JSON."""

    async def serialize(self, frame: Frame) -> str | bytes | None:
        if isinstance(frame, OutputTransportMessageFrame):
            return json.dumps(frame.message, separators=(",", ":"))
        return None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        if isinstance(data, bytes):
            return InputAudioRawFrame(audio=data, sample_rate=RATE, num_channels=1)
        packet = json.loads(data)
        said = packet["payload"]
        return TranscriptionFrame(
            text=said["text"],
            user_id=packet["participant"],
            timestamp=str(said["end_ms"]),
            result=said,
            finalized=said["is_final"],
        )


class Processor(FrameProcessor):
    """Hands each frame on, after what the subclass does with it."""

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.heard(frame)
        elif isinstance(frame, TranscriptionFrame):
            await self.said(frame)
        await self.push_frame(frame, direction)

    async def put_out(self, source: str, payload):
        await self.push_frame(OutputTransportMessageFrame(message={"source": source, "payload": payload}))

    async def heard(self, frame: InputAudioRawFrame):
        pass

    async def said(self, frame: TranscriptionFrame):
        pass


class Speech(Processor):
    speaks = False
    frames = 0

    async def heard(self, frame):
        self.frames += 1
        speaks = audioop.rms(frame.audio, 2) > SPEECH
        if speaks != self.speaks:
            self.speaks = speaks
            await self.put_out("speech", {"speaks": speaks})


class WatchList(Processor):
    async def said(self, frame):
        hits: dict[str, int] = {}
        for match in WATCHED.findall(frame.text):
            hits[match.lower()] = hits.get(match.lower(), 0) + 1
        if hits:
            found = [{"term": term, "count": count} for term, count in hits.items()]
            payload = {"hits": found, "participant": frame.user_id, "text": frame.text}
            await self.put_out("watch-list", payload)


class TalkTime(Processor):
    def __init__(self):
        super().__init__()
        self.rows: dict[str, list] = {}
        self.turns = 0

    async def said(self, frame):
        row = self.rows.setdefault(frame.user_id, [0, 0, 0])
        row[0] += 1
        row[1] += len(frame.text.split())
        row[2] += frame.result["end_ms"] - frame.result["start_ms"]
        self.turns += 1
        if self.turns % 20 == 0:
            await self.put_out("talk-time", {"participants": self.rows, "turns": self.turns})


class Captions(Processor):
    def __init__(self, source: str):
        super().__init__()
        self.source = source

    async def said(self, frame):
        await self.put_out(self.source, f"{frame.user_id}: {frame.text}")


app = FastAPI()


@app.websocket("/ws")
async def session(websocket: WebSocket):
    await websocket.accept()
    params = FastAPIWebsocketParams(
        audio_in_enabled=True, audio_in_sample_rate=RATE, audio_in_passthrough=True, serializer=Serializer()
    )
    transport = FastAPIWebsocketTransport(websocket=websocket, params=params)
    processors = [Captions("captions"), Captions("notes"), Speech(), TalkTime(), WatchList()]
    pipeline = Pipeline([transport.input(), *processors, transport.output()])
    worker = PipelineWorker(
        pipeline, params=PipelineParams(audio_in_sample_rate=RATE), idle_timeout_secs=None, enable_rtvi=False
    )

    @transport.event_handler("on_client_disconnected")
    async def gone(transport, websocket):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def end_with_the_input():
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_the_input, daemon=True).start()
    # Of a socket that does not say TCP, asyncio does not know that small writes are to be sent at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    # As the other sides: no compression, no log of requests.
    config = uvicorn.Config(app, log_level="error", ws_per_message_deflate=False)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
