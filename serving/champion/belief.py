"""Whether a bundle may serve: what the process apart asks, and the service once more of the same bytes."""

from collections.abc import Mapping
from pathlib import Path

from features.errors import BundleError
from serving.cards import build_model_card
from training.bundle import Bundle, build_bundle, manifest_hash, read_files
from training.bundle_files import REMEDY


def judge(folder: Path) -> dict[str, str]:
    """Load a bundle and say what it is, or why it was refused."""
    try:
        files = read_files(folder)
        manifest = believe(files, folder.name).manifest
    except BundleError as error:
        return {"problem": error.problem, "remedy": error.remedy}
    return {"version": manifest.version, "manifest_sha256": manifest_hash(files)}


def believe(files: Mapping[str, bytes], name: str) -> Bundle:
    """Build a bundle that may serve under a name.

    Raises:
        BundleError: If it does not load, is another version than its folder's name says, or has no model card.
    """
    bundle = build_bundle(files, name=name)
    if bundle.manifest.version != name:
        raise BundleError(f"The bundle {name} is in truth version {bundle.manifest.version}.", remedy=REMEDY)
    try:
        build_model_card(bundle.manifest).model_dump_json()
    except MemoryError:  # it says nothing of the bundle
        raise
    except Exception as error:  # noqa: BLE001  # whatever a forged manifest breaks, it is a bundle to refuse
        fault = type(error).__name__
        raise BundleError(f"The manifest of {name} makes no model card: {fault}.", remedy=REMEDY) from None
    return bundle
