"""What answers for a stored version: its bundle, or one of its artifacts."""

from thaw import bundle, golden
from thaw.backends import artifact as backends
from thaw.backends import folding
from thaw.bundle import Bundle
from thaw.predictor import Backend
from thaw.registry import artifacts, store
from thaw.registry.store import ModelVersion
from thaw.storage import Root, local_cache


def load(root: Root, found: ModelVersion, artifact: str | None = None, device: str = "cpu") -> Backend:
    """Load what is to answer, once it answers its golden images as it did when it was made.

    Args:
        artifact: name of one of the version's artifacts; the bundle itself when left out.
        device: ``cpu`` or ``cuda``.

    Raises:
        StorageError: the version has no such artifact.
        ModelError: it cannot be read or run here, or answers otherwise than when it was made.
    """
    if artifact is not None:
        return backends.load(artifacts.fetch(root, found, artifact, local_cache()), device)
    return load_bundle(root, found, device)


def load_bundle(root: Root, found: ModelVersion, device: str = "cpu") -> Bundle:
    """Load the bundle of a version to answer, once it answers its golden images as it did when it was made.

    Raises:
        ModelError: it cannot be read or run here, or answers otherwise than when it was made.
    """
    folder = store.fetch(root, found, local_cache())
    loaded = bundle.load(folder, device)
    folding.fold(loaded)
    golden.check(loaded, folder)
    return loaded
