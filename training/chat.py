"""A language model behind an OpenAI-compatible API, asked for one completion at a time.

Training's only importer of openai; its errors end here. Who is asked, and what for, stands in `judge` and in
`second_teacher`.
"""

from collections.abc import Sequence

import openai
from openai.types.chat import ChatCompletionMessageParam as Message
from pydantic import SecretStr
from pydantic_settings import BaseSettings

__all__ = ["ApiSettings", "Chat", "Message", "NoCompletion"]

TIMEOUT_S = 120.0
RETRIES = 3


class NoCompletion(Exception):  # noqa: N818 - none came
    """Nothing came that can be read as a completion; the message is the reason, without the key."""


class ApiSettings(BaseSettings):
    """BASE_URL, API_KEY and MODEL behind the prefix that a subclass names; without the first nobody is asked."""

    base_url: str = ""
    api_key: SecretStr = SecretStr("")
    model: str = ""

    def named(self) -> bool:
        """Whether they name an API. Raises ValueError if they do not say which of its models."""
        if self.base_url and not self.model:
            raise ValueError(f"{self.prefix}BASE_URL is set, but no {self.prefix}MODEL: name the model to be asked")
        return bool(self.base_url)

    @property
    def prefix(self) -> str:
        return self.model_config.get("env_prefix", "")


class Chat:
    """May be asked from many threads at a time. Failed calls are repeated by the package. It may be sent to another
    process, which connects anew.
    """

    def __init__(self, settings: ApiSettings, retries: int = RETRIES) -> None:
        self._made_of = settings, retries
        self.model = settings.model
        # Servers without keys want the header nevertheless.
        self._key = settings.api_key.get_secret_value() or "none"
        self._client = openai.OpenAI(
            base_url=settings.base_url, api_key=self._key, max_retries=retries, timeout=TIMEOUT_S
        )

    def say(self, messages: Sequence[Message]) -> str:
        """What the model says to that, as little by chance as it can. Raises NoCompletion with the reason."""
        try:
            completion = self._client.chat.completions.create(model=self.model, temperature=0, messages=[*messages])
            return completion.choices[0].message.content or ""
        except openai.APIError as error:  # what an API says of a wrong key often repeats the key
            raise NoCompletion(f"{type(error).__name__}: {error.message.replace(self._key, '***')}") from error
        except (ValueError, AttributeError, IndexError, TypeError) as error:
            where = f"{self._made_of[0].prefix}BASE_URL"
            raise NoCompletion(f"what came is not a chat completion: check {where}") from error

    def __reduce__(self) -> tuple[type["Chat"], tuple[ApiSettings, int]]:
        return Chat, self._made_of

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()
