"""One request in Triton's hands: sends its pieces, its error or its end through its response sender."""

import math
import threading
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from services.student.answer import Answer, Piece
from services.student.engine import Delta, Prompt
from services.student.metrics import ERROR

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL


class Call:
    """Lives from `execute` to the final flag. The engine's thread feeds it; the watcher asks if the caller left."""

    def __init__(self, sender: Any, answer: Answer, prompt: Prompt, request_id: str, timeout_us: int) -> None:
        """`timeout_us` is what the request's caller will wait, 0 for ever; `request_id` may be empty."""
        self.prompt = prompt
        self.request_id = request_id
        self._sender = sender
        self._answer = answer
        self._until_s = time.monotonic() + timeout_us / 1e6 if timeout_us else math.inf
        self._lock = threading.Lock()  # a sender must not be asked anything after its final flag
        self.ended = ""
        """How: a Finish, or `error`."""

    def feed(self, delta: Delta) -> None:
        """Sends what the delta gives; ignores what comes after the end."""
        if self.ended:
            return
        if delta.error:
            self._end(error_response(delta.error), ERROR)
            return
        piece = self._answer.feed(delta)
        if piece is None:
            return
        response = pb_utils.InferenceResponse(_tensors(piece, len(self.prompt.token_ids)))
        if piece.finish:
            self._end(response, piece.finish.value)
        else:
            self._sender.send(response)

    def is_late(self, now_s: float) -> bool:
        """Whether nobody waits for it any more."""
        return now_s > self._until_s

    def caller_left(self) -> bool:
        with self._lock:
            return not self.ended and bool(self._sender.is_cancelled())

    def _end(self, response: Any, ended: str) -> None:
        with self._lock:
            self.ended = ended
            self._sender.send(response, flags=FINAL)


def error_response(text: str) -> Any:
    """A response that is an error; the caller sees `text`."""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text))


def _tensors(piece: Piece, prompt_tokens: int) -> list[Any]:
    return [
        pb_utils.Tensor("text_output", np.array([piece.text.encode()], dtype=np.object_)),
        pb_utils.Tensor("logprobs", np.array(piece.logprobs, dtype=np.float32)),
        pb_utils.Tensor("finish_reason", np.array([piece.finish.value.encode()], dtype=np.object_)),
        pb_utils.Tensor("prompt_tokens", np.array([prompt_tokens], dtype=np.int32)),
        pb_utils.Tensor("completion_tokens", np.array([piece.completion_tokens], dtype=np.int32)),
    ]
