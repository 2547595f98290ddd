"""TRL's GRPOTrainer and its configuration, without what they would import for nothing."""

import importlib
from contextlib import nullcontext
from unittest.mock import patch

import torch

__all__ = ["GRPOConfig", "GRPOTrainer"]

_checks = importlib.import_module("trl.import_utils")
# Where vLLM is installed, TRL imports all of it: five seconds of every process. It can use it on an accelerator only.
_no_vllm = patch.object(_checks, "is_vllm_available", return_value=False)
with nullcontext() if torch.accelerator.is_available() else _no_vllm:
    from trl import GRPOConfig, GRPOTrainer
