"""Who is asked for a second opinion on a teacher's answers: a seam, and any OpenAI-compatible API behind it."""

from collections.abc import Sequence
from typing import Protocol

from pydantic_settings import SettingsConfigDict

from training.chat import RETRIES, ApiSettings, Chat, Message, NoCompletion

Shot = tuple[str, str]
"""A question and its answer, as an example of what is wanted."""


class SecondTeacherFailed(Exception):  # noqa: N818 - the second teacher did
    """No answer came."""


class SecondTeacher(Protocol):
    """May be asked from many threads at a time."""

    name: str

    def answer(self, instructions: str, shots: Sequence[Shot], question: str) -> str:
        """The answer's text, without outer space. Raises SecondTeacherFailed with the reason."""


class SecondTeacherSettings(ApiSettings):
    """SECOND_TEACHER_BASE_URL, SECOND_TEACHER_API_KEY and SECOND_TEACHER_MODEL; without the first there is none."""

    model_config = SettingsConfigDict(env_prefix="SECOND_TEACHER_", frozen=True)


def configured(settings: SecondTeacherSettings) -> "OpenAISecondTeacher | None":
    """The one that the settings name, if they name one. Raises ValueError if they do not say which model."""
    return OpenAISecondTeacher(settings) if settings.named() else None


class OpenAISecondTeacher:
    """A `SecondTeacher`. It may be sent to another process."""

    def __init__(self, settings: SecondTeacherSettings, retries: int = RETRIES) -> None:
        self.name = settings.model
        self._chat = Chat(settings, retries)

    def answer(self, instructions: str, shots: Sequence[Shot], question: str) -> str:
        try:
            said = self._chat.say(messages(instructions, shots, question)).strip()
        except NoCompletion as error:
            raise SecondTeacherFailed(str(error)) from error
        if not said:
            raise SecondTeacherFailed("it said nothing")
        return said

    def close(self) -> None:
        """Let go of the connections."""
        self._chat.close()


def messages(instructions: str, shots: Sequence[Shot], question: str) -> list[Message]:
    """The instructions if there are any, the examples as turns that have been, then the question."""
    told: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
    for asked, answered in shots:
        told += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return [*told, {"role": "user", "content": question}]
