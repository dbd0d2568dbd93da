"""A second task, defined by a YAML file and fed by a log: does an address name a unit? Text in, one label out."""

import json
from pathlib import Path

import yaml

from deploy.demo.addresses import Address, addresses
from deploy.demo.show import CACHE

NAME = "names-a-unit"
EXAMPLES = 700
SEED = 23


def write_task(tasks: Path) -> None:
    (tasks / f"{NAME}.yaml").write_text(
        yaml.safe_dump(
            {
                "name": NAME,
                "answer": "label",
                "instructions": "Answer yes if the address names an apartment, suite, floor or lot, else no.",
                "teacher": {
                    "model": "gpt-4",
                    "may_be_trained_on": True,
                    "prices": {"input_usd_per_million": 30, "output_usd_per_million": 60},
                },
                "student": {
                    # The default recipe, `auto`, in a test's time.
                    "overrides": {"max_minutes": 1, "timed_answers": 12, "worker_failures": 0},
                    "max_tokens": 4,
                    "prices": {"input_usd_per_million": 0.02, "output_usd_per_million": 0.04},
                },
                "error_ceiling": 0.25,
                "proof": "teacher",
                "validators": [{"kind": "one_of", "values": ["yes", "no"]}],
                "sampling": {"split": {"golden": 0.15, "eval": 0.15}},
            }
        )
    )


def examples() -> list[Address]:
    """As many with a unit as without."""
    drawn = addresses(8_000, SEED, CACHE)
    half = EXAMPLES // 2
    with_unit = [one for one in drawn if "unit" in one.truth][:half]
    return with_unit + [one for one in drawn if "unit" not in one.truth][: EXAMPLES - len(with_unit)]


def label(address: Address) -> str:
    return "yes" if "unit" in address.truth else "no"


def write_log(path: Path, records: list[Address]) -> None:
    """Requests with their answers, as the logs of an OpenAI client hold them, and two lines that are no such thing."""
    lines = [
        json.dumps(
            {
                "request": {
                    "model": "gpt-4",
                    "messages": [{"role": "user", "content": record.text}],
                    "user": record.group_key,
                },
                "response": {
                    "model": "gpt-4",
                    "choices": [{"message": {"role": "assistant", "content": label(record)}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 40, "completion_tokens": 1},
                },
            }
        )
        for record in records
    ]
    path.write_text("\n".join([lines[0], "{ torn", '{"request": {}}', *lines[1:]]) + "\n")
