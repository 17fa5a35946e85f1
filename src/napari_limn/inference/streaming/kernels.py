"""Convolutions as oneDNN computes them on a CPU.

Weights are put into its order once, and ReLU is computed in the same pass.

PyTorch's own call reorders the weights each time, goes over the output once more for ReLU, and hands small 3D convolutions to
a plain matrix product that unfolds its input 27 times over and takes up to nine times as long. What is called here is what
``torch.compile`` calls, without compiling; where this PyTorch does not have it, or it does not give what PyTorch's own call
gives, that one stays.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from napari_limn.device import channels_last
from napari_limn.network.unet import Block

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_limn.network.unet import UNet

_CONV: dict[int, Any] = {2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE: dict[int, Any] = {2: F.conv_transpose2d, 3: F.conv_transpose3d}


class Kernel:
    """A convolution whose weight is in oneDNN's order.

    Parameters
    ----------
    conv
        The module, on the CPU, in the precision to compute in.
    """

    def __init__(self, conv: nn.Module) -> None:
        ops: Any = torch.ops.mkldnn
        self._bias: Tensor | None = conv.bias.detach() if isinstance(conv.bias, Tensor) else None
        self._stride, self._dilation = list(conv.stride), list(conv.dilation)  # type: ignore[arg-type]
        none = [0] * len(self._stride)
        weight = conv.weight.detach()  # type: ignore[operator]
        self._transposed = bool(conv.transposed)
        if self._transposed:
            self._weight = ops._reorder_convolution_transpose_weight(
                weight, none, none, self._stride, self._dilation
            )
        else:
            self._weight = ops._reorder_convolution_weight(weight, none, self._stride, self._dilation)

    def __call__(self, x: Tensor, padding: Sequence[int], *, relu: bool = False) -> Tensor:
        """Convolve; with `relu`, set negative values to 0.

        (N, K, …) of (N, C, …).
        """
        ops: Any = torch.ops.mkldnn
        rest: tuple[Any, ...] = self._stride, self._dilation, 1, "relu" if relu else "none", [], ""
        if self._transposed:
            none = [0] * len(padding)
            out: Tensor = ops._convolution_transpose_pointwise(
                x, self._weight, self._bias, list(padding), none, *rest
            )
        else:
            out = ops._convolution_pointwise(x, self._weight, self._bias, list(padding), *rest)
        return out

    def __deepcopy__(self, memo: Any) -> Kernel:
        return self  # nothing in it changes


class Convolution(nn.Module):
    """A convolution, and the ReLU after it, computed by a kernel.

    Weight and bias keep their names; without data (on the device "meta") it is what it was, for what traces it.

    Parameters
    ----------
    conv
        What it stands for.
    relu
        Whether a ReLU follows.
    """

    def __init__(self, conv: nn.Module, *, relu: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.relu = conv.weight, conv.bias, relu
        self.padding: tuple[int, ...] = tuple(conv.padding)  # type: ignore[arg-type]
        self.stride, self.dilation, self.transposed = conv.stride, conv.dilation, bool(conv.transposed)
        self.kernel = Kernel(conv)

    def forward(self, x: Tensor) -> Tensor:
        """Compute (N, K, …) from (N, C, …)."""
        if not x.is_meta:
            return self.kernel(x, self.padding, relu=self.relu)
        ndim, own = x.ndim - 2, {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        out: Tensor = (_CONV_TRANSPOSE if self.transposed else _CONV)[ndim](x, self.weight, self.bias, **own)
        return F.relu(out, inplace=True) if self.relu else out


def packed(network: UNet) -> UNet:
    """Have oneDNN's kernels compute the convolutions of a network.

    Where they are known to work; changes `network`.

    Parameters
    ----------
    network
        As it is to be computed: norms folded, on its device, in its precision. It cannot be trained, nor moved, afterwards.
    """
    weight = next(network.parameters())
    if weight.device.type != "cpu" or not works(network.spec.ndim, weight.dtype):
        return network
    for module in list(network.modules()):
        if isinstance(module, Block) and module.shortcut is None:
            module.relu = _joined(module.convs, module.relu)
        for name, child in list(module.named_children()):
            if _known(child):
                module.register_module(name, Convolution(child, relu=False))
    return network


def kernels_of(network: nn.Module) -> dict[str, Kernel]:
    """Return the kernels by the names of their weights."""
    return {
        f"{name}.weight": module.kernel
        for name, module in network.named_modules()
        if isinstance(module, Convolution)
    }


@cache
def works(ndim: int, dtype: torch.dtype) -> bool:
    """Tell whether oneDNN's kernels can be called, and are right.

    They must give for numbers of this type what PyTorch's own call gives.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    torch_conv: Iterable[Any] = (
        (nn.Conv2d, nn.ConvTranspose2d) if ndim == 2 else (nn.Conv3d, nn.ConvTranspose3d)
    )
    x = torch.linspace(-1, 1, 16 * 8**ndim).reshape(1, 16, *(8,) * ndim).to(dtype)
    x = x.contiguous(memory_format=channels_last(ndim))
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for kind, own in zip(torch_conv, ({"kernel_size": 3}, {"kernel_size": 2, "stride": 2}), strict=True):
            conv: Any = skip_init(kind, 16, 16, **own)  # type: ignore[no-untyped-call]
            for parameter in conv.parameters():
                parameter.uniform_(-0.1, 0.1, generator=random)
            conv = conv.to(dtype).to(memory_format=channels_last(ndim))
            try:
                out = Kernel(conv)(x, (0,) * ndim, relu=True)
            except (
                RuntimeError,
                AttributeError,
                TypeError,
            ):  # another PyTorch has it otherwise, or not at all
                return False
            if not torch.allclose(out, F.relu(conv(x)), atol=1e-5 if dtype == torch.float32 else 0.05):
                return False
    return True


def _known(module: nn.Module) -> bool:
    """Tell whether a kernel can stand for a module."""
    if not isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return False
    plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return plain and module.groups == 1 and not any(module.output_padding)


def _joined(convs: nn.Sequential, last: nn.Module) -> nn.Module:
    """Join each ReLU to its convolution; return the last that remains.

    Of a block; `last` is the ReLU at its end.
    """
    steps = [(i, step) for i, step in enumerate(convs) if not isinstance(step, nn.Identity)]
    after = [step for _, step in steps[1:]] + [last]
    for (i, conv), then in zip(steps, after, strict=True):
        if _known(conv) and isinstance(then, nn.ReLU):
            convs[i] = Convolution(conv, relu=True)
            if then is last:
                return nn.Identity()
            convs[next(k for k, step in steps if step is then)] = nn.Identity()
    return last
