"""Every operator, alone in a small network, against onnxruntime's answers of the same graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgetl.backends.litert.convert import convert
from tests.backends.litert.networks import GREY, Lite, Net, last_scale, reference

CHANNELS = 8


def stem(net: Net, **attributes: Any) -> str:
    return net.conv("x", 3, CHANNELS, pads=[1, 1, 1, 1], **attributes)


def end(net: Net, source: str, channels: int = CHANNELS) -> str:
    """One more convolution, which onnxruntime quantizes on both sides."""
    return net.conv(source, channels, 4, kernel=1)


def conv(**attributes: Any) -> Callable[[Net], str]:
    after = attributes.pop("after", 12)
    return lambda net: net.conv(stem(net), CHANNELS, after, **attributes)


def unary(operator: str, **attributes: Any) -> Callable[[Net], str]:
    return lambda net: end(net, net.node(operator, stem(net), **attributes))


def pooled(operator: str, kernel: int, **attributes: Any) -> Callable[[Net], str]:
    return unary(operator, kernel_shape=[kernel, kernel], **attributes)


def after_relu(operator: str, kernel: int, **attributes: Any) -> Callable[[Net], str]:
    shape = [kernel, kernel]
    return lambda net: end(
        net, net.node(operator, net.node("Relu", stem(net)), kernel_shape=shape, **attributes)
    )


def clip(low: float, high: float) -> Callable[[Net], str]:
    return lambda net: end(net, net.node("Clip", stem(net), net.constant(low), net.constant(high)))


def two(operator: str) -> Callable[[Net], str]:
    return lambda net: end(net, net.node(operator, stem(net), stem(net)))


def beside_constant(operator: str, shape: tuple[int, ...], *, first: bool = False) -> Callable[[Net], str]:
    def body(net: Net) -> str:
        operands = [stem(net), net.constant(net.rng.uniform(0.2, 2, shape))]
        return end(net, net.node(operator, *(operands[::-1] if first else operands)))

    return body


def swish(net: Net) -> str:
    source = stem(net)
    return end(net, net.node("Mul", source, net.node("Sigmoid", source)))


def decomposed_hard_swish(net: Net) -> str:
    source = stem(net)
    return end(net, net.node("Mul", source, net.node("HardSigmoid", source, alpha=1 / 6, beta=0.5)))


def squeeze_and_excite(net: Net) -> str:
    source = net.node("HardSwish", stem(net))
    mean = net.node("GlobalAveragePool", source)
    narrow = net.node("Relu", net.conv(mean, CHANNELS, 4, kernel=1))
    gate = net.node("HardSigmoid", net.conv(narrow, 4, CHANNELS, kernel=1), alpha=1 / 6, beta=0.5)
    return end(net, net.node("Mul", source, gate))


def concatenated(net: Net) -> str:
    """Branches of quite different ranges, two of them clipped at zero or at six by their range alone."""
    clipped = net.node("Relu", net.conv("x", 3, 4, pads=[1, 1, 1, 1]))
    louder = net.node("Mul", net.conv("x", 3, 4, pads=[1, 1, 1, 1]), net.constant(5.0))
    limits = net.constant(0.0), net.constant(6.0)
    capped = net.node("Clip", net.node("Mul", stem(net), net.constant(9.0)), *limits)
    wide = net.node("Mul", stem(net), net.constant(5.0))
    return end(net, net.node("Concat", clipped, louder, capped, wide, axis=1), 24)


def negative_pool(net: Net) -> str:
    """A padded pool of what is below zero everywhere."""
    below = net.node("Add", stem(net), net.constant(np.full((1, CHANNELS, 1, 1), -6)))
    pool = net.node("MaxPool", below, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0])
    return end(net, pool)


def gated_relu(net: Net) -> str:
    return end(net, net.node("HardSigmoid", net.node("Relu", stem(net)), alpha=1 / 6, beta=0.5))


def gate_used_besides(net: Net) -> str:
    source = stem(net)
    gate = net.node("HardSigmoid", source, alpha=1 / 6, beta=0.5)
    return end(net, net.node("Add", net.node("Mul", source, gate), gate))


def concatenated_without_scale_of_its_own(net: Net) -> str:
    return end(net, net.node("Concat", stem(net), stem(net), axis=-3), 16)


def batch_normalization(net: Net) -> str:
    values = [net.constant(net.rng.uniform(0.5, 2, CHANNELS)) for _ in range(4)]
    return end(net, net.node("BatchNormalization", net.node("Sigmoid", stem(net)), *values))


def padded(net: Net) -> str:
    pads = net.constant([0, 0, 1, 2, 0, 0, 3, 0], np.int64)
    return end(net, net.node("Pad", net.node("Relu", stem(net)), pads))


def head(net: Net, transposed: int = 1) -> str:
    """Mean, a row, a product."""
    axes = {"axes": [2, 3], "keepdims": 1}
    row = net.node("Flatten", net.node("ReduceMean", net.node("Relu", stem(net)), **axes))
    weights = net.rng.normal(0, 1, (5, CHANNELS) if transposed else (CHANNELS, 5))
    return net.node(
        "Gemm", row, net.constant(weights), net.constant(net.rng.normal(0, 1, 5)), transB=transposed
    )


def activated_head(net: Net) -> str:
    """A mean, a convolution, hard swish, a row, a product, as MobileNetV3's."""
    mean = net.node("GlobalAveragePool", stem(net))
    row = net.node("Flatten", net.node("HardSwish", net.conv(mean, CHANNELS, 16, kernel=1)))
    return net.node("Gemm", row, net.constant(net.rng.normal(0, 1, (5, 16))), transB=1)


def flattened(net: Net) -> str:
    """An image flattened with its height and width, as VGG's."""
    small = net.node("MaxPool", stem(net, strides=[2, 2]), kernel_shape=[3, 3], strides=[3, 3])
    row = net.node("Reshape", small, net.constant([0, -1], np.int64))
    return net.node("Gemm", row, net.constant(net.rng.normal(0, 0.1, (5, CHANNELS * 9))), transB=1)


def flattened_for_others(net: Net) -> str:
    small = net.node("MaxPool", stem(net, strides=[2, 2]), kernel_shape=[3, 3], strides=[3, 3])
    row = net.node("Add", net.node("Flatten", small), net.constant(net.rng.normal(0, 1, (1, CHANNELS * 9))))
    return net.node("Gemm", row, net.constant(net.rng.normal(0, 0.1, (5, CHANNELS * 9))), transB=1)


def product(net: Net) -> str:
    row = net.node("Flatten", net.node("GlobalAveragePool", stem(net)))
    made = net.node("MatMul", row, net.constant(net.rng.normal(0, 1, (CHANNELS, 5))))
    return net.node("Add", made, net.constant(net.rng.normal(0, 1, 5)))


def classes(net: Net) -> str:
    return net.node("Softmax", head(net), axis=-1)


CASES: dict[str, Callable[[Net], str]] = {
    "conv": conv(),
    "conv padded as SAME": conv(pads=[1, 1, 1, 1]),
    "conv padded otherwise": conv(pads=[0, 1, 2, 0]),
    "conv padded as SAME in one direction": conv(pads=[1, 0, 1, 0]),
    "conv with strides": conv(strides=[2, 2], pads=[1, 1, 1, 1]),
    "conv with strides, padded otherwise": conv(kernel=5, strides=[2, 3], pads=[1, 2, 2, 1]),
    "conv whose last padding is not used": conv(kernel=2, strides=[2, 2], pads=[0, 0, 1, 1]),
    "conv that pads itself": conv(auto_pad="SAME_LOWER", kernel=4, strides=[2, 2]),
    "dilated conv": conv(dilations=[2, 2], pads=[2, 2, 2, 2]),
    "depthwise": conv(after=8, group=8, pads=[1, 1, 1, 1]),
    "depthwise with strides, padded otherwise": conv(after=8, group=8, strides=[2, 2], pads=[2, 0, 1, 1]),
    "depthwise with a multiplier": conv(after=16, group=8),
    "grouped conv": conv(after=12, group=4),
    "relu": unary("Relu"),
    "relu6": clip(0.0, 6.0),
    "a narrow clip": clip(0.0, 0.75),
    "sigmoid": unary("Sigmoid"),
    "hard sigmoid": unary("HardSigmoid", alpha=0.2, beta=0.5),
    "hard sigmoid of what was clipped": gated_relu,
    "hard sigmoid used besides": gate_used_besides,
    "hard swish": unary("HardSwish"),
    "swish": swish,
    "decomposed hard swish": decomposed_hard_swish,
    "squeeze and excite": squeeze_and_excite,
    "add": two("Add"),
    "sub": two("Sub"),
    "mul": two("Mul"),
    "mul by a constant": beside_constant("Mul", ()),
    "mul by one a channel": beside_constant("Mul", (CHANNELS, 1, 1)),
    "one a channel, mul": beside_constant("Mul", (1, CHANNELS, 1, 1), first=True),
    "add of one a channel": beside_constant("Add", (1, CHANNELS, 1, 1)),
    "sub of one a channel": beside_constant("Sub", (CHANNELS, 1, 1)),
    "sub from a constant": beside_constant("Sub", (1,), first=True),
    "batch normalization": batch_normalization,
    "max pool": pooled("MaxPool", 2, strides=[2, 2]),
    "padded max pool": pooled("MaxPool", 3, strides=[2, 2], pads=[1, 1, 1, 1]),
    "padded max pool of negatives": negative_pool,
    "max pool of what is not negative": after_relu("MaxPool", 3, strides=[2, 2], pads=[0, 0, 1, 1]),
    "max pool rounding up": pooled("MaxPool", 2, strides=[3, 3], ceil_mode=1),
    "average pool": pooled("AveragePool", 3, strides=[2, 2]),
    "average pool, padding counts": pooled("AveragePool", 3, pads=[1, 1, 1, 1], count_include_pad=1),
    "average pool, padding does not count": pooled("AveragePool", 3, pads=[1, 1, 1, 1]),
    "global average pool": unary("GlobalAveragePool"),
    "concat": concatenated,
    "concat of alike": concatenated_without_scale_of_its_own,
    "pad": padded,
    "mean, row, product": head,
    "hard swish, row, product": activated_head,
    "product with weights the other way": lambda net: head(net, 0),
    "flattened image": flattened,
    "flattened image for other than a product": flattened_for_others,
    "matmul and add": product,
    "softmax": classes,
}


def require_close(found: np.ndarray, expected: np.ndarray, exact: np.ndarray, step: float) -> None:
    """Two quantization steps apart (rarely three), and as near to the float model as onnxruntime is."""
    steps = np.abs(found - expected) / step
    assert steps.max() <= 3.01 and np.quantile(steps, 0.99) <= 2.01 and steps.mean() < 0.5
    assert np.abs(found - exact).mean() <= 1.1 * np.abs(expected - exact).mean() + 0.15 * step


@pytest.mark.parametrize("name", CASES)
def test_integers_as_onnxruntime_has_them(name: str, quantize: Any, pictures: np.ndarray) -> None:
    net = Net()
    model = net.model(CASES[name](net))
    quantized = quantize(model)
    lite = Lite(convert(quantized))
    expected, found = reference(quantized, pictures), lite.run(pictures)
    assert lite.floats() == [] and found.shape == expected.shape
    require_close(found, expected, reference(model, pictures), last_scale(quantized))


@pytest.mark.parametrize("name", CASES)
def test_float_as_onnxruntime_has_it(name: str, pictures: np.ndarray) -> None:
    net = Net()
    model = net.model(CASES[name](net), GREY)
    lite = Lite(convert(model))
    assert np.allclose(lite.run(pictures), reference(model, pictures), atol=2e-4)


@pytest.mark.parametrize("name", ["conv padded as SAME", "depthwise", "relu", "hard swish", "add", "concat"])
def test_signed_activations(name: str, quantize: Any, pictures: np.ndarray) -> None:
    net = Net()
    model = net.model(CASES[name](net))
    quantized = quantize(model, "symmetric")
    lite = Lite(convert(quantized))
    assert lite.floats() == []
    answers = [reference(graph, pictures) for graph in (quantized, model)]
    require_close(lite.run(pictures), *answers, last_scale(quantized))
