"""How long does the whole loop take on this machine, and how does it end? `python -m benchmarks.loop [--quick]`.

Runs `tutelage demo` and sets its result beside the goals. The student's peer in the same run is its teacher.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

GOAL_MINUTES = {False: 20, True: 3}


def goals(result: dict[str, Any], quick: bool) -> dict[str, dict[str, Any]]:
    """The goals with what was measured. A quick loop has too few examples to aim at a promotion."""
    minutes = round(result["seconds"]["total"] / 60, 1)
    ledger = result["ledger"]
    lost = ledger["answered"] - ledger["distinct_in_clickhouse"] + ledger["missing"] + ledger["duplicates"]
    found = {
        "minutes": {"goal": f"<= {GOAL_MINUTES[quick]}", "measured": minutes, "met": minutes <= GOAL_MINUTES[quick]},
        "lost or counted twice": {"goal": 0, "measured": lost, "met": lost == 0},
    }
    if not quick:
        error, teacher = result["cascade"]["error_high"], result["teacher"]["error_low"]
        found |= {
            "promoted": {"goal": True, "measured": result["promoted"], "met": result["promoted"]},
            "cascade's upper end below the teacher's lower": {
                "goal": f"< {teacher:.4f}",
                "measured": error,
                "met": error < teacher,
            },
        }
    return found


def main() -> None:
    """Run the demo with the arguments given, then print its result with the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the quick loop")
    given = parser.parse_args()
    command = [str(Path(sys.executable).with_name("tutelage")), "demo", *(["--quick"] if given.quick else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        last = ""
        for last in running.stdout or ():
            sys.stdout.write(last)
    if running.returncode:
        sys.exit(running.returncode)
    result = json.loads(Path(last.strip()).read_text(encoding="utf-8"))
    print(json.dumps(result | {"goals": goals(result, given.quick)}))


if __name__ == "__main__":
    main()
