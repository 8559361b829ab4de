"""Quantize, build and measure an ONNX of your own: python examples/own_onnx.py MODEL.onnx IMAGES OUT

The model takes float [N, 3, 224, 224] with ImageNet's mean and std; change the contract if yours does not.
"""

import sys

import edgetl

onnx, images, out = sys.argv[1:]
contract = edgetl.Contract(
    height=224,
    width=224,
    resize="shorter",
    resize_to=256,
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
edgetl.quantize(onnx, images, "x86-onnxruntime", f"{out}/int8.onnx", contract=contract)
edgetl.build(f"{out}/int8.onnx", "x86-onnxruntime", f"{out}/bundle")
engine = edgetl.bench(f"{out}/bundle")["engines"][0]
p50 = engine["latency_ms"]["p50"]
print(f"p50 {p50['value']:.2f} ms [{p50['low']:.2f}, {p50['high']:.2f}], {engine['precision']}")
