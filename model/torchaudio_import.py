"""Import torchaudio beside a CPU-only torch: import this before torchaudio or transformers.

torchaudio 2.11 comes with an extension that is linked to CUDA, so `import torchaudio` fails with
OSError where torch has none, and transformers, which imports torchaudio where it is installed,
fails with it. The transforms need no extension: a stub in its place says that there is none.
"""

import importlib
import sys
from types import ModuleType


def import_transforms() -> ModuleType:
    """torchaudio.transforms, with torchaudio's own extension where that can be loaded."""
    try:
        return importlib.import_module("torchaudio.transforms")
    except OSError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = extension_stub()
        return importlib.import_module("torchaudio.transforms")


def extension_stub() -> ModuleType:
    """What torchaudio asks of its extension, all of it absent."""
    stub = ModuleType("torchaudio._extension")
    stub.__path__ = []
    for part in ("_IS_TORCHAUDIO_EXT_AVAILABLE", "_IS_ALIGN_AVAILABLE", "_IS_RIR_AVAILABLE"):
        setattr(stub, part, False)
    for function in ("fail_if_no_align", "_check_cuda_version"):
        setattr(stub, function, lambda function=None: function)
    return stub


transforms = import_transforms()
