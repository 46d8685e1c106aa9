"""Every overlay, rendered once."""

import pytest
import rendered
from manifest_rules import schemas
from rendered import Document


@pytest.fixture(scope="session")
def installations() -> dict[str, list[Document]]:
    """Overlay -> all documents of an installation, with its jobs."""
    if not rendered.has_kubectl():
        pytest.skip("kubectl is not installed; it renders k8s/")
    return rendered.installations()


@pytest.fixture(scope="session")
def custom_schemas() -> None:
    """Schemas of custom resources, which are read by path and never copied."""
    folder = schemas.crds()
    if folder is None or not (folder.parent / "tools" / "crdcheck.py").is_file():
        pytest.skip("THAW_CRDS names no folder with schemas of custom resources, and a checker in ../tools")
