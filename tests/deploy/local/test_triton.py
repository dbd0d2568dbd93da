from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from tests.fixtures.engines import TritonServer

pytestmark = pytest.mark.contract

CONFIG = """
backend: "python"
max_batch_size: 8
input [{name: "text" data_type: TYPE_STRING dims: [1]}]
output [{name: "text" data_type: TYPE_STRING dims: [1]}, {name: "from" data_type: TYPE_STRING dims: [1]}]
instance_group [{kind: KIND_CPU}]
"""
MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils

import services


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(request, "text")) for request in requests]

    def answer(self, text):
        where = np.array([[services.__file__.encode()]], dtype=object)
        return pb_utils.InferenceResponse([pb_utils.Tensor("text", text.as_numpy()), pb_utils.Tensor("from", where)])
"""


def put_model(repository: Path, name: str) -> None:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(CONFIG)
    (repository / name / "1" / "model.py").write_text(MODEL)


def test_a_model_is_loaded_by_name_and_finds_our_packages(triton: TritonServer) -> None:
    put_model(triton.repository, "local_echo")
    with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
        assert not client.is_model_ready("local_echo")
        client.load_model("local_echo")
        text = triton_grpc.InferInput("text", [1, 1], "BYTES")
        text.set_data_from_numpy(np.array([[b"42 Main St"]], dtype=object))
        answer = client.infer("local_echo", [text])
        assert answer.as_numpy("text").item() == b"42 Main St"
        assert answer.as_numpy("from").item().endswith(b"services/__init__.py")
        client.unload_model("local_echo")


def test_a_model_that_is_not_there_is_refused(triton: TritonServer) -> None:
    refused = pytest.raises(InferenceServerException, match="failed to load")
    with triton_grpc.InferenceServerClient(triton.grpc_address) as client, refused:
        client.load_model("local_nothing")
