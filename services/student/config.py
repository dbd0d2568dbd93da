"""What a version's directory and Triton's config.pbtxt say: who the student is, and what it may use."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.pruning import Rule
from services.tagging import SPECIAL_TOKENS, UNUSED_POSITIONS

EngineName = Literal["openvino", "tensorrt_llm", "encoder"]
"""A module of this package that has `build(directory, student, settings) -> Engine`."""


class Student(BaseModel):
    """`student.json`, written by whoever exports the student."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: EngineName
    base_model: str
    """What it was tuned from, for people."""
    max_tokens: Annotated[int, Field(ge=1)]
    """Tokens of one answer, at most."""
    eos_token_ids: tuple[int, ...] = ()
    """Each ends the answer and is not part of its text. An encoder has none."""
    stop_texts: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Each ends every answer and is not part of it."""
    pruning: Rule | None = None
    """What it does not read of a prompt, as it learned without it. A prompt that lacks it is refused."""

    @model_validator(mode="after")
    def _answers_end(self) -> "Student":
        if self.engine != "encoder" and not self.eos_token_ids:
            raise ValueError("eos_token_ids: without one no answer could ever end")
        return self


class Settings(BaseModel):
    """The `parameters` of config.pbtxt whose names are in lower case; those in upper case are Triton's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_running: Annotated[int, Field(ge=1)] = 64
    """Requests generating at the same time. Beyond 64 two cores gain nothing."""
    max_waiting: Annotated[int, Field(ge=0)] = 1024
    """Requests waiting for a place; one more is refused as overloaded."""
    max_prompt_tokens: Annotated[int, Field(ge=1)] = 4096
    """A longer prompt is refused; the model's own context may be shorter."""
    cache_gb: Annotated[int, Field(ge=1)] = 1
    """OpenVINO's key-value cache. A 135-million-parameter model's token takes 12 KB."""
    gpu_cache_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """TensorRT-LLM's part of the free GPU memory: the next version must fit beside the one that is serving."""
    cancel_check_s: Annotated[float, Field(gt=0)] = 0.1
    """How often callers are looked at for having gone away."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for, in tokens."""

    max_tokens: int
    max_prompt_tokens: int
    context_tokens: int  # prompt and answer together


def load_student(directory: Path) -> Student:
    """Raises pydantic.ValidationError, naming the field, if student.json is not as it should be."""
    return Student.model_validate_json((directory / "student.json").read_bytes())


def load_settings(model_config: str) -> Settings:
    """`model_config` is the model's configuration as JSON, as Triton hands it to `initialize`."""
    parameters: Mapping[str, Mapping[str, str]] = json.loads(model_config).get("parameters", {})
    return Settings.model_validate({k: v["string_value"] for k, v in parameters.items() if not k.isupper()})


def load_limits(directory: Path, student: Student, settings: Settings) -> Limits:
    """The narrower of what the settings and the model's own config.json (its longest context) allow."""
    context_tokens = int(json.loads((directory / "config.json").read_bytes())["max_position_embeddings"])
    if student.engine == "encoder":  # its answer takes no place of the prompt's
        readable = min(settings.max_prompt_tokens, context_tokens - UNUSED_POSITIONS - SPECIAL_TOKENS)
        return Limits(student.max_tokens, readable, readable + student.max_tokens)
    return Limits(student.max_tokens, min(settings.max_prompt_tokens, context_tokens - 1), context_tokens)
