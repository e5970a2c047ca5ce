"""Explains the terms and abbreviations of a meeting, each once. Written for version 0.2 of the API."""

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache

from teammy.api.plugin import (
    DataPacket,
    InCallPlugin,
    InCallPluginMetadata,
    MeetingEngine,
    MeetingMetadata,
    PluginConfig,
)

UNKNOWN = "?"


@dataclass(frozen=True)
class GlossaryConfig(PluginConfig):
    """The model is asked about abbreviations that are neither in `terms` nor in `ignored`."""

    terms: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=lambda: ["OK", "TV"])
    ask_model: bool = True


class Glossary(InCallPlugin):
    config: GlossaryConfig
    # Computed again whenever it is missing, so it is no state: it may begin empty after a restart.
    patterns: dict[str, re.Pattern[str]] = {}
    abbreviation = re.compile(r"\b[A-Z]{2,6}\b")

    @classmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        return InCallPluginMetadata(
            name="glossary", version="0.1.0", sources=["chat", "transcription"], config=GlossaryConfig()
        )

    @classmethod
    async def on_install(cls) -> None:
        pass

    @classmethod
    async def on_startup(cls, config: GlossaryConfig) -> None:
        cls.config = config
        cls.patterns = {}

    @classmethod
    async def get_data_receive_hooks(cls) -> dict[str, InCallPlugin.HookFunction]:
        return {"chat": cls.on_text, "transcription": cls.on_text}

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
    async def on_text(cls, packet: DataPacket, engine: MeetingEngine) -> dict[str, str] | None:
        """Explain what a packet names for the first time; both sources carry an object with a text."""
        payload = json.loads(packet.data)
        if not payload.get("is_final", True):
            return None
        text = payload["text"]
        seen = await engine.datastore().get(packet.meeting_metadata, "seen") or {}
        new = {}
        for term in cls.terms_in(text) + cls.abbreviations_in(text):
            if term not in seen:
                seen[term] = new[term] = cls.config.terms.get(term) or await ask(term, text, engine)
        if not new:
            return None
        await engine.datastore().set(packet.meeting_metadata, "seen", seen)
        return {term: meaning for term, meaning in new.items() if meaning != UNKNOWN} or None

    @classmethod
    def terms_in(cls, text: str) -> list[str]:
        return [term for term in cls.config.terms if cls.pattern_of(term).search(text)]

    @classmethod
    def pattern_of(cls, term: str) -> re.Pattern[str]:
        """Return the pattern of a term; case matters if the term has an upper-case letter."""
        if term not in cls.patterns:
            flags = re.IGNORECASE if term.islower() else 0
            cls.patterns[term] = re.compile(rf"(?<!\w){re.escape(term)}(?!\w)", flags)
        return cls.patterns[term]

    @classmethod
    def abbreviations_in(cls, text: str) -> list[str]:
        """Return the abbreviations that only the model can explain, in the order of the text."""
        if not cls.config.ask_model:
            return []
        known = {*cls.config.terms, *cls.config.ignored}
        return [found for found in abbreviations(text) if found not in known]


@lru_cache(maxsize=256)
def abbreviations(text: str) -> tuple[str, ...]:
    """Return the abbreviations of a text, each once. It is cached, as what is said is often written, too."""
    return tuple(dict.fromkeys(Glossary.abbreviation.findall(text)))


async def ask(term: str, text: str, engine: MeetingEngine) -> str:
    """Return what an abbreviation stands for, or `UNKNOWN`."""
    answer = await engine.llm().fast_prompt(
        messages=[
            {
                "role": "system",
                "content": "Say what the abbreviation stands for, in at most ten words and nothing else. "
                f"If you are not sure, answer {UNKNOWN}",
            },
            {"role": "user", "content": f"{term}, as in: {text}"},
        ],
        temperature=0.0,
    )
    lines = answer.strip().splitlines()
    return lines[0].strip() if lines else UNKNOWN
