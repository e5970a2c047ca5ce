"""What a hook may ask the meeting's engine for: language models, and the datastore.

`MeetingEngine` is one for the whole process. Which meeting a call belongs to comes from the hook that makes
it.
"""

from __future__ import annotations

import datetime
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from teammy._host import context
from teammy.api.data import DataPacket, MeetingMetadata

if TYPE_CHECKING:
    import openai

__all__ = [
    "DataPacket",
    "DatastoreError",
    "EngineError",
    "LLMError",
    "LLMProvider",
    "MeetingEngine",
    "MeetingMetadata",
    "PersistenceProvider",
    "timedelta",
]


class EngineError(RuntimeError):
    """The node could not do what a hook asked for. `code` says why, for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


class LLMError(EngineError):
    """A prompt was not answered."""


class DatastoreError(EngineError):
    """The datastore did not answer."""


class LLMProvider:
    """The language models that the instance's configuration names.

    `client` is always None: the node asks the models, and holds their keys.
    """

    client: openai.AsyncOpenAI | None = None

    async def _init_client(self) -> None:
        """Does nothing, because there is no client."""

    async def fast_prompt(self, messages: list[dict], temperature: float) -> str:
        """The answer of the fast model. Raises `LLMError`."""
        return await context.running("fast_prompt").prompt("fast_prompt", messages, temperature)

    async def prompt(self, messages: list[dict], temperature: float) -> str:
        """The answer of the model. Raises `LLMError`."""
        return await context.running("prompt").prompt("prompt", messages, temperature)


class PersistenceProvider:
    """Keys and values of this instance in this meeting. They last longer than the process."""

    _store: ClassVar[dict[str, object]] = {}
    _history: ClassVar[dict] = {}

    async def set(self, info: MeetingMetadata, key: str, data: object) -> None:
        """Sets a key to JSON, a pydantic object or a dataclass.

        It is stored if the hook ends well, and otherwise not at all.
        """
        context.running("datastore().set").set(info, key, data)

    async def get(self, info: MeetingMetadata, key: str) -> object:
        """The value of a key, as JSON parses to; None if there is none. Raises `DatastoreError`."""
        return await context.running("datastore().get").get(info, key)

    async def get_stream_history(
        self,
        info: MeetingMetadata,
        num_packets: int = 0,
        not_before: timedelta | None = None,
    ) -> list[DataPacket]:
        """The instance's own outputs, oldest first: the last `num_packets` (0: all).

        `not_before` leaves out older ones; it counts back from the packet of the hook.
        Raises `DatastoreError`.
        """
        hook = context.running("datastore().get_stream_history")
        if not_before is not None and not isinstance(not_before, datetime.timedelta):
            raise TypeError(f"not_before is a timedelta or None, not {type(not_before).__name__}")
        return await hook.history(info, num_packets, not_before)


class MeetingEngine:
    """The engine. Each call of the class gives the same object."""

    _instance: ClassVar[MeetingEngine | None] = None
    _datastore: PersistenceProvider
    _llm: LLMProvider

    def __new__(cls, *args: Any, **kwargs: Any) -> MeetingEngine:
        if cls._instance is None:
            made = super().__new__(cls)
            made._datastore = PersistenceProvider()
            made._llm = LLMProvider()
            cls._instance = made
        return cls._instance

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes anything, as `__new__` does."""

    def llm(self) -> LLMProvider:
        return self._llm

    def datastore(self) -> PersistenceProvider:
        return self._datastore


def __getattr__(name: str) -> Any:
    if name == "openai":
        try:
            import openai
        except ModuleNotFoundError as error:
            if error.name != "openai":
                raise
            raise ImportError(
                "teammy.api.engine.openai needs the package openai, which this environment does not "
                "have: add it to the plugin's dependencies",
                name="openai",
            ) from None
        return openai
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
