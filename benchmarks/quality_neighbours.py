"""The environment in which others' parsers run, and how they are asked: their pins need not agree with ours."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

PINS: Final = Path(__file__).with_name("quality.txt")
SCRIPT: Final = Path(__file__).with_name("quality_others.py")
FOLDER: Final = "others"


def asked(
    whom: Literal["usaddress", "refit", "vader"], texts: Sequence[str], directory: Path, learn: Sequence[Any] = ()
) -> list[Any]:
    """What it says of each text; see `quality_others`. RuntimeError with the end of its log."""
    given = json.dumps({"texts": list(texts), "learn": list(learn)})
    command = [_python(directory / FOLDER), SCRIPT, whom]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{whom} failed:\n{done.stderr[-3000:]}")
    said: list[Any] = json.loads(done.stdout)
    return said


def _python(environment: Path) -> Path:
    """The environment's interpreter; made once."""
    python, made = environment / "bin" / "python", environment / "made"
    if not made.is_file():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, environment], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", PINS], check=True)
        made.touch()
    return python
