"""The tasks of benchmarks.student_quality by name."""

from typing import Final

from benchmarks import quality_calls
from benchmarks.quality_addresses import ADDRESSES
from benchmarks.quality_linear import commonest, frozen, tf_idf
from benchmarks.quality_pointing import pointing
from benchmarks.quality_reading import first_label, first_object
from benchmarks.quality_reviews import REVIEWS
from benchmarks.quality_task import Task

FUNCTIONS: Final = Task(
    name="functions",
    answer_kind="label",
    config="minilm-classifier-cpu",
    max_tokens=32,
    examples=quality_calls.functions,
    right=lambda one, answer: one.answer == answer.strip(),
    instruction="The user's message lists functions and then asks something. Answer with the name of the function "
    "that serves it, and nothing else.",
    read=lambda shown, said: first_label(sorted({one.answer for one in shown}), said),
    shots=2,
    learners={"commonest": commonest, "TF-IDF + linear": tf_idf, "untuned encoder + linear": frozen},
)
CALLS: Final = Task(
    name="calls",
    answer_kind="json",
    config="smollm2-135m-cpu",
    max_tokens=256,
    examples=quality_calls.calls,
    right=quality_calls.right,
    instruction="The user's message describes a function as JSON schema and then asks something. Answer with the call "
    'that serves it as one JSON object, {"name of the function": {"parameter": value}}, and nothing else.',
    read=lambda _, said: first_object(said),
    shots=2,
    learners={"TF-IDF + linear, pointing": pointing},
    golden_share=0.3,
)
TASKS: Final = {task.name: task for task in (ADDRESSES, REVIEWS, FUNCTIONS, CALLS)}
