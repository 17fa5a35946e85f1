"""A network computed by OpenVINO, built from its traced graph.

Not by ``openvino.convert_model``: that runs the network once more to trace it, and OpenVINO's tools tell Google Analytics.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_limn.errors import LimnError
from napari_limn.network.graph import Slot, Weight, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_limn.network.graph import Graph, Op
    from napari_limn.network.unet import UNet

_BEAT = 50  # milliseconds between two chances to cancel
_PASSED = frozenset({"dropout", "contiguous"})


def openvino() -> Any:
    """Import OpenVINO without its telemetry.

    Import OpenVINO by this function only: any other import writes a client id into the home folder and reports the
    import to Google Analytics.

    Raises
    ------
    ImportError
        Where it is not installed.
    """
    if "openvino" in sys.modules or "openvino_telemetry" in sys.modules:
        return importlib.import_module("openvino")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO has a stub for where it is missing
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules["openvino_telemetry"]


def version() -> str:
    """Return the version of OpenVINO, or "" without it.

    It is that of its package; "" too where it cannot be loaded.
    """
    try:
        return str(openvino().__version__).split("-")[0]
    except (ImportError, OSError):
        return ""


class NotCompiledError(LimnError):
    """An operation that is not translated."""


class CompiledNetwork:
    """A network compiled for inputs (N, C, …) of one extent.

    Those of another extent are computed by PyTorch.

    Inputs of a batch are computed one after the other.

    Parameters
    ----------
    network
        As it is computed, batch norms folded, in float32 or bfloat16, on the CPU.
    channels, extent
        Of an input.
    check
        Called every 50 ms while it computes; may raise, which cancels it.

    Raises
    ------
    NotCompiledError
        For an operation that is not known here, and for bfloat16 on a processor that does not compute it: OpenVINO would compute in
        float32 there and not say so.
    RuntimeError
        If OpenVINO does not take the network.
    """

    def __init__(
        self, network: UNet, channels: int, extent: tuple[int, ...], check: Callable[[], object] = int
    ) -> None:
        ov, low = openvino(), next(network.parameters()).dtype == torch.bfloat16
        core = ov.Core()
        if low and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise NotCompiledError("this processor does not compute in bfloat16.")
        weights = dict(network.named_parameters()) | dict(network.named_buffers())
        self._network, self._check, self._tensor = network, check, ov.Tensor
        self._shape = (channels, *extent)
        model = _model(ov, trace(network, channels, extent), weights, (1, *self._shape))
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if low else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # pinned threads wait for each other where other programs run
        }
        compiled = core.compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()
        self._out = tuple(compiled.output(0).shape)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Compute the logits of a batch, in float32.

        (N, K, …) of (N, C, …).
        """
        if tuple(batch.shape[1:]) != self._shape:
            logits: torch.Tensor = self._network(batch)
            return logits
        out = torch.empty(len(batch), *self._out[1:])
        for n, one in enumerate(batch.float().contiguous()):
            self._pass(one[None], out[n : n + 1])
        return out

    def _pass(self, one: torch.Tensor, out: torch.Tensor) -> None:
        """Compute one input into `out`."""
        request = self._request
        request.set_input_tensor(self._tensor(one.numpy(), shared_memory=True))
        request.set_output_tensor(self._tensor(out.numpy(), shared_memory=True))
        request.start_async()
        try:
            while not request.wait_for(_BEAT):
                self._check()
        except BaseException:
            request.cancel()
            with suppress(RuntimeError):  # says that it was cancelled
                request.wait()
            raise


def _model(ov: Any, graph: Graph, weights: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> Any:
    """Build a model of OpenVINO of the graph."""
    builder = _Builder(ov, weights)
    builder.nodes.append(ov.opset13.parameter(list(shape), np.float32))
    for op in graph.ops[1:]:
        builder.nodes.append(builder.node(op))
    return ov.Model([builder.nodes[-1]], [builder.nodes[0]], "network")


class _Builder:
    """Makes nodes of OpenVINO of a graph's operations, one after the other."""

    def __init__(self, ov: Any, weights: Mapping[str, torch.Tensor]) -> None:
        self._o, self._weights = ov.opset13, weights
        self.nodes: list[Any] = []

    def node(self, op: Op) -> Any:
        """Make the node of an operation whose inputs are there."""
        if op.name in _PASSED:
            return self._value(op.args[0])
        name = op.name.removesuffix("2d").removesuffix("3d")
        made: Callable[[Op], Any] | None = getattr(self, f"_{name}", None)
        if made is None:
            raise NotCompiledError(f"{op.name} is not known here.")
        return made(op)

    def _value(self, value: Any) -> Any:
        if isinstance(value, Slot):
            return self.nodes[value.index]
        if isinstance(value, Weight):
            return self._o.constant(self._weights[value.name].detach().float().contiguous().numpy())
        raise NotCompiledError(f"an operand is a {type(value).__name__}.")

    def _per_channel(self, value: Any, ndim: int) -> Any:
        """Shape a weight (C) as (1, C, 1, …)."""
        weight = self._weights[value.name].detach().float().reshape(1, -1, *(1,) * ndim)
        return self._o.constant(weight.contiguous().numpy())

    # ---- one method an operation -------------------------------------------------------------------------------
    def _conv(self, op: Op) -> Any:
        call, pad = op.named(), op.each("padding", 0)
        if call.get("groups", 1) != 1:
            raise NotCompiledError("the convolution has groups.")
        out = self._o.convolution(
            self._value(call["input"]), self._value(call["weight"]), op.each("stride", 1), pad, pad,
            op.each("dilation", 1),
        )  # fmt: skip
        return self._biased(out, call.get("bias"), len(pad))

    def _conv_transpose(self, op: Op) -> Any:
        call, pad = op.named(), op.each("padding", 0)
        if call.get("groups", 1) != 1 or any(op.each("output_padding", 0)):
            raise NotCompiledError("the transposed convolution has groups or output padding.")
        out = self._o.convolution_backprop_data(
            self._value(call["input"]), self._value(call["weight"]), op.each("stride", 1),
            pads_begin=pad, pads_end=pad, dilations=op.each("dilation", 1),
        )  # fmt: skip
        return self._biased(out, call.get("bias"), len(pad))

    def _biased(self, out: Any, bias: Any, ndim: int) -> Any:
        return out if bias is None else self._o.add(out, self._per_channel(bias, ndim))

    def _max_pool(self, op: Op) -> Any:
        call, pad, kernel = op.named(), op.each("padding", 0), op.each("kernel_size", 1)
        if call.get("ceil_mode") or any(d != 1 for d in op.each("dilation", 1)):
            raise NotCompiledError("the pooling is dilated or rounds up.")
        stride = op.each("stride", 1) if call.get("stride") else kernel
        return self._o.max_pool(
            self._value(call["input"]), stride, [1] * len(pad), pad, pad, kernel, "floor"
        ).output(0)

    def _interpolate(self, op: Op) -> Any:
        call, o = op.named(), self._o
        if "linear" not in call.get("mode", "nearest") or call.get("align_corners"):
            raise NotCompiledError("the interpolation is not linear, or aligns corners.")
        factors = [float(1 / move.stride) for move in op.intervals]
        return o.interpolate(
            self._value(call["input"]), np.array(factors, np.float32), "linear_onnx", "scales",
            coordinate_transformation_mode="half_pixel", axes=np.arange(2, 2 + len(factors)),
        )  # fmt: skip

    def _narrow(self, op: Op) -> Any:
        call = op.named()
        start, axis = call["start"], call["dim"]
        return self._o.slice(
            self._value(call["input"]), np.array([start]), np.array([start + call["length"]]), np.array([1]),
            np.array([axis]),
        )  # fmt: skip

    def _pad(self, op: Op) -> Any:
        if op.kwargs.get("mode") != "replicate":
            raise NotCompiledError("the padding does not repeat the last voxel.")
        x, pads = self._value(op.args[0]), list(op.args[1])
        before = [0] * (2 + len(op.intervals))
        after = [*before]
        for axis in range(len(pads) // 2):
            before[-1 - axis], after[-1 - axis] = pads[2 * axis : 2 * axis + 2]
        return self._o.pad(x, np.array(before), np.array(after), "edge")

    def _cat(self, op: Op) -> Any:
        return self._o.concat([self._value(part) for part in op.args[0]], 1)

    def _relu(self, op: Op) -> Any:
        return self._o.relu(self._value(op.args[0]))

    def _sigmoid(self, op: Op) -> Any:
        return self._o.sigmoid(self._value(op.args[0]))

    def _add(self, op: Op) -> Any:
        return self._o.add(*map(self._value, op.args))

    def _mul(self, op: Op) -> Any:
        return self._o.multiply(*map(self._value, op.args))

    def _zeros_like(self, op: Op) -> Any:
        shape = list(self._value(op.args[0]).shape)
        return self._o.broadcast(np.float32(0), np.array(shape))

    def _channel_norm(self, op: Op) -> Any:
        x, weight, bias, *eps = op.args
        given, o, ndim = self._value(x), self._o, len(op.intervals)
        small, axis = eps[0] if eps else 1e-5, np.array([1])
        if bias is None:
            mean = o.reduce_mean(o.multiply(given, given), axis, keep_dims=True)
            normed = o.divide(given, o.sqrt(o.add(mean, np.float32(small))))
        else:
            normed = o.mvn(given, axis, True, small, "inside_sqrt")
        return self._biased(o.multiply(normed, self._per_channel(weight, ndim)), bias, ndim)

    def _group_norm(self, op: Op) -> Any:
        x, groups = op.args
        weight, bias = self._value(op.kwargs["weight"]), self._value(op.kwargs["bias"])
        return self._o.group_normalization(self._value(x), weight, bias, groups, op.kwargs["eps"])

    def _instance_norm(self, op: Op) -> Any:
        ndim, o = len(op.intervals), self._o
        axes = np.arange(2, 2 + ndim)
        normed = o.mvn(self._value(op.args[0]), axes, True, op.kwargs["eps"], "inside_sqrt")
        scaled = o.multiply(normed, self._per_channel(op.kwargs["weight"], ndim))
        return self._biased(scaled, op.kwargs["bias"], ndim)
