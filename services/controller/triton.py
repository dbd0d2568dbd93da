"""Triton: ask what it serves, have it load, try an answer. The controller's only importer of tritonclient."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from services.controller.errors import Refused
from services.errors import Overloaded

ASK_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 60.0
"""A first answer compiles kernels and maps weights."""
PASSING: Final = frozenset({"StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "StatusCode.RESOURCE_EXHAUSTED"})


class Triton:
    """One Triton server, or several that serve the same and are asked in turn.

    Raises Overloaded while one is away, Refused with its words when it says no.
    """

    def __init__(self, addresses: str, load_timeout_s: float) -> None:
        """`addresses` are host:port, with commas between them."""
        self._addresses = addresses.split(",")
        self._load_timeout_s = load_timeout_s

    def serves(self, task: str, version: int) -> bool:
        """Whether this version can answer now, whichever is asked."""
        return all(self._serves(address, task, version) for address in self._addresses)

    def load(self, task: str) -> None:
        """Read the model's configuration again and load what it names; returns when that serves."""
        for address in self._addresses:
            with _connected(address) as client:
                client.load_model(task, client_timeout=self._load_timeout_s)

    def unload(self, task: str) -> None:
        """Let go of every version of the model."""
        for address in self._addresses:
            with _connected(address) as client:
                client.unload_model(task, client_timeout=ASK_TIMEOUT_S)

    def answer(self, task: str, version: int, prompt: str) -> str:
        """The student's whole text for one prompt; of several the shortest, as an empty one tells of a fault."""
        return min((self._answer(address, task, version, prompt) for address in self._addresses), key=len)

    def _serves(self, address: str, task: str, version: int) -> bool:
        with _connected(address) as client:
            return bool(client.is_model_ready(task, str(version), client_timeout=ASK_TIMEOUT_S))

    def _answer(self, address: str, task: str, version: int, prompt: str) -> str:
        text = np.array([prompt.encode()], dtype=np.object_)
        tensor = triton.InferInput("text_input", [1], np_to_triton_dtype(text.dtype))
        tensor.set_data_from_numpy(text)
        parts: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with _connected(address) as client:
            client.start_stream(lambda result, error: parts.put(error or result), stream_timeout=ANSWER_TIMEOUT_S)
            client.async_stream_infer(task, [tensor], str(version), enable_empty_final_response=True)
            answer = "".join(_texts(parts))
            client.stop_stream()
        return answer


@contextmanager
def _connected(address: str) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(address)
    try:
        yield client
    except InferenceServerException as error:
        said = f"Triton at {address}: {str(error)[:500]}"
        raise (Overloaded if error.status() in PASSING else Refused)(said) from error
    finally:
        client.close()


def _texts(parts: "queue.SimpleQueue[Any]") -> Iterator[str]:
    """The answer's pieces until the final response."""
    while True:
        try:
            part = parts.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty as error:
            raise Overloaded(f"Triton gave no answer within {ANSWER_TIMEOUT_S:g} s") from error
        if isinstance(part, InferenceServerException):
            raise part
        if (piece := part.as_numpy("text_output")) is not None and piece.size:
            yield piece.ravel()[0].decode()
        if part.get_response().parameters["triton_final_response"].bool_param:
            return
