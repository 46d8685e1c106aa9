"""One stored model and one ONNX file of it, for all tests of exports: writing one takes seconds."""

from pathlib import Path

import pytest

import stored as made
from stored import Stored
from thaw.backends.formats import onnx
from thaw.backends.network import Network


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return made.stored(tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="session")
def written(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model as ONNX."""
    folder = tmp_path_factory.mktemp("onnx")
    onnx.write(Network(stored.bundle), folder)
    return folder
