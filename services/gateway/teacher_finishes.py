"""Why a teacher's answer ended, in the words of the APIs that speak OpenAI's shape but not its words. Pure.

Sources: OpenAI, Anthropic, Gemini, Cohere, Amazon Bedrock, Mistral, DeepSeek, Zhipu, OpenRouter, TGI, vLLM and SGLang;
some of them come through proxies that translate the answer and leave this word as it is.
"""

from typing import Final

from protos import inference_pb2 as inference
from services.openai_request import FINISHES

_WORDS: Final = {
    **FINISHES,
    **dict.fromkeys(
        ("complete", "completed", "end_turn", "eos", "eos_token", "stop_sequence"),
        inference.FINISH_STOP,
    ),
    **dict.fromkeys(
        ("max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"),
        inference.FINISH_LENGTH,
    ),
    **dict.fromkeys(("tool_call", "tool_use"), inference.FINISH_TOOL_CALLS),
    **dict.fromkeys(
        (
            "blocklist",
            "content_filtered",
            "error_toxic",
            "guardrail_intervened",
            "prohibited_content",
            "recitation",
            "refusal",
            "safety",
            "sensitive",
            "spii",
        ),
        inference.FINISH_CONTENT_FILTER,
    ),
}
_FAILURES: Final = frozenset({"abort", "aborted", "error", "insufficient_system_resource", "network_error"})


def finish_of(word: str) -> inference.Finish:
    """UNSPECIFIED for none and for one that nobody knows: such an answer is not known to be whole."""
    return _WORDS.get(word.lower(), inference.FINISH_UNSPECIFIED)


def says_failure(word: str) -> bool:
    """Whether it says that the API broke down in the middle."""
    return word.lower() in _FAILURES
