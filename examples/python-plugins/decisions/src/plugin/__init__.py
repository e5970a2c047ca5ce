"""Numbers the decisions of a meeting. Written for version 0.3 of the API."""

from typing import Literal

from pydantic import BaseModel

from teammy.api.data import DataPacket, MeetingMetadata, PluginState
from teammy.api.engine import MeetingEngine
from teammy.api.plugin import InCallPlugin, InCallPluginMetadata, PluginConfig


class Transcription(DataPacket):
    text: str
    start_ms: int = 0
    is_final: bool = True


class Decision(BaseModel):
    number: int
    text: str
    at_ms: int


class Decisions(PluginState):
    """The decisions that stand, and how many there ever were."""

    made: int = 0
    standing: list[Decision] = []


class DecisionEvent(DataPacket):
    event: Literal["made", "withdrawn"]
    decision: Decision
    standing: int


class DecisionsConfig(BaseModel, PluginConfig):
    """A sentence with one of `phrases` is a decision; one with one of `withdrawals` withdraws the newest."""

    phrases: list[str] = ["we decided", "decision:", "let's go with"]
    withdrawals: list[str] = ["scratch that", "forget that decision"]


class DecisionLog(InCallPlugin):
    config: DecisionsConfig

    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(
            name="decisions", version="0.1.0", sources=["transcription"], config=DecisionsConfig()
        )

    @classmethod
    async def on_install(cls) -> None:
        pass

    @classmethod
    async def on_startup(cls, config: DecisionsConfig) -> None:
        cls.config = config

    @classmethod
    async def get_data_receive_hooks(cls) -> dict[str, InCallPlugin.HookFunction]:
        return {"transcription": cls.on_transcription}

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
    async def on_transcription(
        cls, said: Transcription, state: Decisions, engine: MeetingEngine
    ) -> tuple[DecisionEvent | None, Decisions]:
        if not said.is_final:
            return None, state
        text = said.text.casefold()
        if any(phrase.casefold() in text for phrase in cls.config.withdrawals) and state.standing:
            withdrawn = state.standing.pop()
            return DecisionEvent(event="withdrawn", decision=withdrawn, standing=len(state.standing)), state
        if any(phrase.casefold() in text for phrase in cls.config.phrases):
            state.made += 1
            decision = Decision(number=state.made, text=said.text.strip(), at_ms=said.start_ms)
            state.standing.append(decision)
            return DecisionEvent(event="made", decision=decision, standing=len(state.standing)), state
        return None, state
