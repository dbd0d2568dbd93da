"""Trains and exports one encoder: `python -m tests.training.serve_one CONFIG.json DATASET OUTPUT`."""

import sys
from pathlib import Path

from tests.training.serve_encoders import serve
from training.config import Config

if __name__ == "__main__":
    serve(Config.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), Path(sys.argv[3]))
