"""torchaudio's transforms can be had with and without its extension."""

import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from types import ModuleType

import pytest
import torch

from model.torchaudio_import import import_transforms


@pytest.fixture
def no_torchaudio() -> Iterator[None]:
    """A process that has not yet imported torchaudio; the real modules come back afterwards."""
    known = {name: body for name, body in sys.modules.items() if name.startswith("torchaudio")}
    for name in known:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if name.startswith("torchaudio")]:
        del sys.modules[name]
    sys.modules.update(known)


class BrokenExtension(MetaPathFinder):
    """Answers an import of the extension as a loader that misses a CUDA library does."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchaudio._extension":
            raise OSError("libc10_cuda.so: cannot open shared object file")


@pytest.mark.usefixtures("no_torchaudio")
def test_where_the_extension_does_not_load_the_transforms_still_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "meta_path", [BrokenExtension(), *sys.meta_path])
    transforms = import_transforms()
    spectrogram = transforms.Spectrogram(n_fft=64, hop_length=16)(torch.randn(1, 640))
    assert spectrogram.shape == (1, 33, 41)
    assert transforms.GriffinLim(64, 2, hop_length=16)(spectrogram).shape == (1, 640)
    assert sys.modules["torchaudio._extension"]._IS_TORCHAUDIO_EXT_AVAILABLE is False


@pytest.mark.usefixtures("no_torchaudio")
def test_where_torchaudio_imports_it_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {name: ModuleType(name) for name in ("torchaudio", "torchaudio.transforms")}
    for name, body in whole.items():
        monkeypatch.setitem(sys.modules, name, body)
    assert import_transforms() is whole["torchaudio.transforms"]
    assert "torchaudio._extension" not in sys.modules
