"""The family against MONAI's independent implementations: the same weights give the same outputs and gradients.

What agrees: outputs, and gradients by the input, of the whole BasicUNet (2D and 3D) and of every head of
BasicUNetPlusPlus after weights were transferred; the attention gate and the residual block by themselves, since MONAI
builds the rest of its AttentionUnet and DynUNet otherwise (strided blocks, kernels of 3 on the way up). MONAI
upsamples to the finest level with twice the channels: those more than ours are given weights of zero.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("monai")

from monai.networks.blocks import UnetResBlock
from monai.networks.nets import BasicUNet, BasicUNetPlusPlus
from monai.networks.nets.attentionunet import AttentionBlock

from napari_limn.network.footprint import footprint, footprint_along
from napari_limn.network.graph import trace
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import Block, Gate, UNet

torch.set_num_threads(1)

WIDTH = 4
FEATURES = (WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH, 16 * WIDTH, WIDTH)
RELU = ("relu", {"inplace": False})


def drawn(module, seed=0):
    """The module with weights and statistics drawn at random, those of norms around 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.normal_(1.0 if name.endswith("weight") else 0.0, 0.2, generator=generator)
        elif tensor.is_floating_point():
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
    return module.eval()


def give(ours, theirs):
    """Weights of ours to theirs, which may be larger: the rest becomes zero."""
    for mine, other in zip(ours, theirs, strict=True):
        state = other.state_dict()
        for name, tensor in state.items():
            tensor.zero_()
            if name in mine.state_dict():
                value = mine.state_dict()[name]
                tensor[tuple(slice(n) for n in value.shape)] = value
        other.load_state_dict(state)


def convolutions(block):
    """Convolution, norm, convolution, norm of one of our blocks, and of one of MONAI's."""
    if isinstance(block, Block):
        return [block.convs[i] for i in (0, 1, 3, 4)]
    return [block.conv_0.conv, block.conv_0.adn.N, block.conv_1.conv, block.conv_1.adn.N]


def same_outputs_and_gradients(ours, theirs, x):
    for module in (ours, theirs):
        assert sum(p.abs().sum() for p in module.parameters()) > 0
    mine, other = (x.clone().requires_grad_() for _ in range(2))
    found, expected = ours(mine), theirs(other)
    assert found.shape == expected.shape
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn(found.shape)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_plain_network_is_monais_basic_unet(ndim):
    ours = drawn(UNet(UNetSpec(width=WIDTH, out_channels=3, factors=((2,) * ndim,) * 4)))
    theirs = BasicUNet(ndim, 1, 3, FEATURES, act=RELU, norm="batch").eval()
    downs = [theirs.conv_0, *(getattr(theirs, f"down_{i}").convs for i in (1, 2, 3, 4))]
    for mine, other in zip(ours.encoder, downs, strict=True):
        give(convolutions(mine), convolutions(other))
    for level in range(4):
        node, other = ours.nodes[f"{level}_{4 - level}"], getattr(theirs, f"upcat_{level + 1}")
        give([node.up, *convolutions(node.block)], [other.upsample.deconv, *convolutions(other.convs)])
    give([ours.head], [theirs.final_conv])
    torch.manual_seed(1)
    same_outputs_and_gradients(ours, theirs, torch.randn(2, 1, *(32,) * ndim))
    more = WIDTH * 2 * WIDTH * 2**ndim + WIDTH + WIDTH * WIDTH * 3**ndim  # to the finest level, twice as wide
    biases = sum(m.out_channels for m in ours.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))) - 3
    count = [sum(p.numel() for p in network.parameters()) for network in (ours, theirs)]
    assert count[1] == count[0] + more + biases  # theirs has biases in front of its norms


def test_every_head_of_the_nested_network_is_monais():
    spec = UNetSpec(width=WIDTH, factors=((2, 2),) * 4, skip="nested", supervised=True)
    ours, theirs = (
        drawn(UNet(spec)),
        BasicUNetPlusPlus(2, 1, 2, FEATURES, deep_supervision=True, act=RELU, norm="batch").eval(),
    )
    for i in range(5):
        other = getattr(theirs, f"conv_{i}_0")
        give(convolutions(ours.encoder[i]), convolutions(other if i == 0 else other.convs))
    for name, node in ours.nodes.items():
        other = getattr(theirs, f"upcat_{name}")
        give([node.up, *convolutions(node.block)], [other.upsample.deconv, *convolutions(other.convs)])
    give([*ours.side, ours.head], [getattr(theirs, f"final_conv_0_{j}") for j in (1, 2, 3, 4)])
    torch.manual_seed(1)
    x = torch.randn(1, 1, 32, 48)
    same_outputs_and_gradients(
        lambda_module(lambda x: torch.cat(ours.supervised(x)), ours),
        lambda_module(lambda x: torch.cat(theirs(x)), theirs),
        x,
    )


class lambda_module(nn.Module):  # noqa: N801
    """A function of a module, as a module."""

    def __init__(self, function, inner):
        super().__init__()
        self.function, self.inner = function, inner

    def forward(self, x):
        return self.function(x)


def test_the_attention_gate_is_monais_without_its_norms():
    gate = drawn(Gate(UNetSpec(width=8, skip="attention"), 0))
    other = AttentionBlock(2, f_int=4, f_g=8, f_l=8).eval()
    inner = [other.W_x[0].conv, other.W_g[0].conv, other.psi[0].conv]
    for norm in (m for m in other.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.eps = 0.0  # freshly made, its statistics are 0 and 1: nothing is normalised
    give([gate.skip, gate.gate, gate.score], inner)
    torch.manual_seed(1)
    skip, below = torch.randn(2, 8, 12, 12), torch.randn(2, 8, 12, 12)
    torch.testing.assert_close(gate(skip, below), other(g=below, x=skip), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inputs", [8, 3])
def test_the_residual_block_is_monais(inputs):
    block = drawn(Block(UNetSpec(width=8, block="residual"), inputs, 8, (3, 3)))
    other = UnetResBlock(2, inputs, 8, 3, 1, "batch", act_name=RELU).eval()
    parts = [other.conv1.conv, other.norm1, other.conv2.conv, other.norm2]
    give(convolutions(block), parts)
    if inputs != 8:
        give(list(block.shortcut), [other.conv3.conv, other.norm3])
    torch.manual_seed(1)
    same_outputs_and_gradients(block, other, torch.randn(2, inputs, 12, 12))


def test_the_footprint_of_monais_network_is_that_of_ours():
    theirs = BasicUNet(2, 1, 2, FEATURES, norm="batch")
    assert footprint_along(trace(theirs, 1, (128, 128)), 0).halo == footprint(UNetSpec(width=WIDTH))[0].halo
    assert (
        trace(BasicUNet(2, 1, 2, FEATURES), 1, (128, 128)).not_local[0].startswith("instance_norm in conv_0")
    )
    stretched = BasicUNet(2, 1, 2, FEATURES, norm="batch", upsample="nontrainable")
    assert (
        trace(stretched, 1, (128, 128)).not_local[0].startswith("interpolate in upcat_4")
    )  # corners aligned
