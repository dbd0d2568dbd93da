"""The neighbours in benchmarks.gateway, in their own environments: LiteLLM's proxy, TensorZero's embedded gateway."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import engines, gateway_tools
from benchmarks.gateway_contestants import Contestant, Served
from benchmarks.gateway_load import Load, http_target
from benchmarks.gateway_served import Setting
from deploy.local import ready
from deploy.local.addresses import HOST, free_ports
from deploy.local.part import Part

STARTED_WITHIN_S: Final = 300.0
"""LiteLLM takes 20 s on an idle machine."""
CONFIG: Final = Path(__file__).with_name("gateway_tensorzero.toml")
SCRIPT: Final = Path(__file__).with_name("gateway_tensorzero.py")


@contextmanager
def litellm(setting: Setting) -> Iterator[Contestant]:
    """LiteLLM's proxy, without a database."""
    python, key = gateway_tools.python("litellm", setting.cache), f"sk-{secrets.token_hex(16)}"
    address = f"{HOST}:{(port := free_ports(1)[0])}"
    params = {"model": "openai/mock", "api_base": f"http://{setting.backend}/v1", "api_key": "none"}
    config = setting.directory / "litellm.yaml"
    config.write_text(json.dumps({"model_list": [{"model_name": "mock", "litellm_params": params}]}))
    argv = [str(python.with_name("litellm")), "--config", str(config), "--host", HOST, "--port", str(port)]
    argv += ["--num_workers", str(setting.processes)]
    argv += ["--timeout_worker_healthcheck", f"{STARTED_WITHIN_S:.0f}"]  # Its workers take longer than 5 s to import
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": key}
    environment |= {"PATH": gateway_tools.path_of(python), "LITELLM_LOG": "ERROR"}
    alive = partial(ready.answers_http, f"http://{address}/health/liveliness")
    part = Part("litellm", tuple(argv), alive, environment, ready_within_s=STARTED_WITHIN_S)
    with engines.started(part, setting.directory) as running:
        yield Served(setting, running.identity.pid, partial(http_target, address, "mock", key, setting.directory))


class Embedded:
    """TensorZero's gateway in the process of its caller, so that the caller's cost is in the figures."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def run(self, load: Load) -> dict[str, float]:
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(json.dumps(vars(load)) + "\n")
        self._child.stdin.flush()
        said = next((line for line in self._child.stdout if line.startswith("{")), None)
        if said is None:
            raise RuntimeError(f"tensorzero ended with {self._child.wait()}")
        found: dict[str, float] = json.loads(said)
        return found


@contextmanager
def tensorzero(setting: Setting) -> Iterator[Contestant]:
    """TensorZero's embedded gateway, its observability off: nothing is logged or kept."""
    python = gateway_tools.python("tensorzero", setting.cache)
    config = setting.directory / "tensorzero.toml"
    config.write_text(CONFIG.read_text().replace("BACKEND", setting.backend))
    with (
        (setting.directory / "tensorzero.log").open("wb") as log,
        subprocess.Popen(
            [python, SCRIPT, config], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as child,
    ):
        yield Embedded(child)
        child.kill()
