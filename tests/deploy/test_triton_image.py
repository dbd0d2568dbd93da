"""deploy/Dockerfile.triton holds whatever the student imports inside Triton."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile.triton").read_text()
ELSEWHERE = {"tensorrt_llm", "triton_python_backend_utils"}
"""The first is of the GPU image, the second of Triton."""


def test_it_installs_every_package_that_the_student_imports() -> None:
    named = re.search(r"\^\(([\w|-]+)\)==", DOCKERFILE)
    assert named is not None
    installed = {name.replace("-", "_") for name in named[1].split("|")}
    foreign = {name.split(".")[0] for name in _imported()} - set(sys.stdlib_module_names) - ELSEWHERE - {"services"}
    assert foreign <= installed
    pinned = {line.split("==")[0].replace("-", "_") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert installed <= pinned


def test_it_copies_every_module_of_ours_that_the_student_imports() -> None:
    copied = set(re.findall(r"services/[\w.]*", DOCKERFILE))
    wanted = {name.split(".")[1] for name in _imported() if name.startswith("services.")}
    assert {f"services/{name}" if name == "student" else f"services/{name}.py" for name in wanted} <= copied


def _imported() -> set[str]:
    return {
        name for path in (ROOT / "services" / "student").glob("*.py") for name in _names(ast.parse(path.read_text()))
    }


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
