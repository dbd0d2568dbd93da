"""From a checkpoint to files that serve: merged weights in Hugging Face layout, and one Triton model version."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nncf  # type: ignore[import-untyped]
import openvino
import peft
import torch
from huggingface_hub import hf_hub_download
from optimum.exporters.openvino import main_export
from optimum.intel.openvino import OVConfig

from training import base
from training import model as learning
from training.config import Config

COPIED = ("config.json", "generation_config.json", "tokenizer.json")


def merge(config: Config, adapter: dict[str, torch.Tensor], output: Path) -> Path:
    """Write `model/`: the base's weights with the adapter folded in, tokeniser and generation settings."""
    source, target = base.fetch(config), output / "model"
    dtype = torch.float32 if config.engine == "openvino" else torch.bfloat16
    tuned = learning.adapted(base.model(source, dtype=dtype), config)
    peft.set_peft_model_state_dict(tuned, adapter)
    merged: Any = tuned.merge_and_unload()
    merged.save_pretrained(target)
    _copy_tokenizer(source, target)
    (target / "training.yaml").write_text(config.model_dump_json(indent=2))  # JSON is YAML
    return target


def triton_version(config: Config, model: Path, max_tokens: int, output: Path) -> Path:
    """Write `triton/`: the files of one version of the Triton model, whole or not at all."""
    target, part = output / "triton", Path(tempfile.mkdtemp(dir=output))
    if config.engine == "openvino":
        _openvino(model, part)
    else:
        shutil.copytree(model, part, dirs_exist_ok=True)
    for name in COPIED:
        if (model / name).is_file():
            shutil.copy(model / name, part / name)
    student = {
        "engine": config.engine,
        "base_model": config.base_model,
        "max_tokens": max_tokens,
        "eos_token_ids": base.end_tokens(model),
        "stop_texts": [],
    }
    (part / "student.json").write_text(json.dumps(student, indent=2))
    part.chmod(0o755)
    shutil.rmtree(target, ignore_errors=True)
    return part.rename(target)


def _openvino(model: Path, target: Path) -> None:
    """OpenVINO's format with int8 weights. Compressing after the export, without reloading torch, halves the time."""
    with tempfile.TemporaryDirectory(dir=target.parent) as whole:
        main_export(
            str(model),
            whole,
            task="text-generation-with-past",
            ov_config=OVConfig(dtype="fp32"),
            convert_tokenizer=False,
            library_name="transformers",
        )
        graph = openvino.Core().read_model(f"{whole}/openvino_model.xml")
        small = nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_ASYM)
        openvino.save_model(small, str(target / "openvino_model.xml"), compress_to_fp16=False)


def _copy_tokenizer(source: Path | str, target: Path) -> None:
    for name in base.TOKENIZER_FILES:
        if isinstance(source, Path):
            if (source / name).is_file():
                shutil.copy(source / name, target / name)
        elif name == "tokenizer.json":
            shutil.copy(hf_hub_download(source, name), target / name)
