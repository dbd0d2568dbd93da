"""From a checkpoint to files that serve: merged weights in Hugging Face layout, and one Triton model version."""

import json
import shutil
import tempfile
from pathlib import Path

import nncf  # type: ignore[import-untyped]
import openvino
from huggingface_hub import hf_hub_download
from optimum.exporters.openvino import main_export
from optimum.intel.openvino import OVConfig

from training import base
from training.config import Config
from training.kind import Kind
from training.weights import Weights

COPIED = ("config.json", "generation_config.json", "tokenizer.json", "labels.json")


def merge(config: Config, kind: Kind, learnt: Weights, output: Path) -> Path:
    """Write `model/`: the base's weights with what was learnt folded in, tokeniser and generation settings."""
    source, target = base.fetch(config), output / "model"
    kind.finished(learnt).save_pretrained(target)
    _copy_tokenizer(source, target)
    base.tokenizer(source).save(str(target / "tokenizer.json"))
    if kind.labels:
        (target / "labels.json").write_text(kind.labels.model_dump_json(indent=2))
    (target / "training.yaml").write_text(config.model_dump_json(indent=2))  # JSON is YAML
    return target


def triton_version(config: Config, kind: Kind, model: Path, max_tokens: int, output: Path) -> Path:
    """Write `triton/`: the files of one version of the Triton model, whole or not at all."""
    part = Path(tempfile.mkdtemp(dir=output))
    if config.engine == "tensorrt_llm":
        shutil.copytree(model, part, dirs_exist_ok=True)
    else:
        _openvino(model, part, kind.exported_as, small=config.kind == "causal" or config.int8)
    for name in COPIED:
        if (model / name).is_file():
            shutil.copy(model / name, part / name)
    student = {"engine": config.engine, "base_model": config.base_model, "max_tokens": max_tokens}
    if config.kind == "causal":
        student |= {"eos_token_ids": base.end_tokens(model), "stop_texts": []}
    if config.unread:
        student["pruning"] = config.unread.model_dump()
    (part / "student.json").write_text(json.dumps(student, indent=2))
    part.chmod(0o755)
    target = output / "triton"
    shutil.rmtree(target, ignore_errors=True)
    return part.rename(target)


def _openvino(model: Path, target: Path, task: str, *, small: bool) -> None:
    """OpenVINO's format, `small` with int8 weights. Compressing after the export, without reloading torch, halves the
    time. `task` is the exporter's word for what the model does.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as whole:
        main_export(
            str(model),
            whole,
            task=task,
            ov_config=OVConfig(dtype="fp32"),
            convert_tokenizer=False,
            library_name="transformers",
        )
        graph = openvino.Core().read_model(f"{whole}/openvino_model.xml")
        if small:
            graph = nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_ASYM)
        openvino.save_model(graph, str(target / "openvino_model.xml"), compress_to_fp16=False)


def _copy_tokenizer(source: Path | str, target: Path) -> None:
    for name in base.TOKENIZER_FILES:
        if isinstance(source, Path):
            if (source / name).is_file():
                shutil.copy(source / name, target / name)
        elif name == "tokenizer.json":
            shutil.copy(hf_hub_download(source, name), target / name)
