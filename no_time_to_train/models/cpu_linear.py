"""Linear layers through oneDNN on processors for which torch's default library runs at half speed.

torch multiplies float32 matrices with Intel's MKL, which uses only half of the vector width on AMD processors (measured
on an EPYC: 200 against 370 GFLOP/s on two cores). oneDNN, which torch brings along, has no such preference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from no_time_to_train.models.processor import is_amd_processor


def use_onednn_linear(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Replace a frozen network's linear layers, in place, where that is faster.

    That is in float32 on an AMD CPU.

    The same numbers up to rounding; names and parameters stay.

    Args:
        module: a network in evaluation mode, already on its device.
        device: where it runs.
        dtype: the arithmetic of its forward pass.
    """
    if device.type != "cpu" or dtype != torch.float32 or not is_amd_processor():
        return
    for name, child in list(module.named_children()):
        if type(child) is nn.Linear:
            setattr(module, name, _OneDnnLinear(child))
        else:
            use_onednn_linear(child, device, dtype)


class _OneDnnLinear(nn.Linear):
    """``nn.Linear`` by oneDNN, on the very parameters of another one."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            return super().forward(inputs)
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
