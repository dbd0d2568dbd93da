"""Compiles the .proto files into Python: the build backend calls it at install, `python protos/generate.py` by hand."""

import sys
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent.parent


def generate(root: Path = ROOT) -> list[str]:
    """Write *_pb2.py, *_pb2.pyi and *_pb2_grpc.py into protos/; return their paths relative to root."""
    sources = sorted(str(path.relative_to(root)) for path in (root / "protos").glob("*.proto"))
    include = Path(protoc.__file__).parent / "_proto"
    outputs = [f"--{kind}_out={root}" for kind in ("python", "pyi", "grpc_python")]
    code = protoc.main(["protoc", f"-I{root}", f"-I{include}", *outputs, *(str(root / source) for source in sources)])
    if code:
        raise RuntimeError(f"protoc ended with {code}; see its messages above")
    return [str(path.relative_to(root)) for path in (root / "protos").glob("*_pb2*.py*")]


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatch calls this before it builds a wheel, editable or not."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        build_data["artifacts"].extend(generate(Path(self.root)))


if __name__ == "__main__":
    sys.stdout.write("\n".join(generate()) + "\n")
