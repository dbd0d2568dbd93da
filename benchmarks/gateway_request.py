"""What all contestants of benchmarks.gateway are asked and answered: a kilobyte when kept. Standard library alone."""

import json
from typing import Any, Final

TASK: Final = "address-extraction"
HELD: Final = "held"
"""The task whose calls are answered after a while."""
INSTRUCTIONS: Final = (
    "Take the address apart into number, street, unit, city, state and zip. Answer with one JSON object on one line, "
    "without spaces between its parts. Copy the words exactly as they stand in the address; do not correct, expand or "
    "translate them. Leave out a field that the address does not have, and never guess what is not written. "
)
QUESTION: Final = "1522 Oakland Rd NE Unit 7 Cedar Rapids IA 52402"
ANSWER: Final = (
    '{"number":"1522","street":"Oakland Rd NE","unit":"Unit 7","city":"Cedar Rapids","state":"IA","zip":"52402"}'
)
PIECE_CHARS: Final = 7
PIECES: Final = tuple(ANSWER[start : start + PIECE_CHARS] for start in range(0, len(ANSWER), PIECE_CHARS))
"""The answer as it is streamed: 16 pieces."""
MESSAGES: Final = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": QUESTION}]


def http_body(model: str, stream: bool) -> str:
    """The request in OpenAI's form."""
    asked: dict[str, Any] = {"model": model, "messages": MESSAGES}
    return json.dumps(asked | ({"stream": True} if stream else {}))


def grpc_fields(task: str) -> dict[str, Any]:
    """The request in protobuf's JSON form."""
    roles = {"system": "ROLE_SYSTEM", "user": "ROLE_USER"}
    messages = [{"role": roles[message["role"]], "content": message["content"]} for message in MESSAGES]
    return {"task": task, "messages": messages}
