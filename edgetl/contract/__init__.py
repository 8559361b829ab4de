"""The preprocessing contract: its value, the image code, and its place in an ONNX file."""

from edgetl.contract.image import UnreadableImageError, decode, preprocess
from edgetl.contract.value import Contract

__all__ = ["Contract", "UnreadableImageError", "decode", "preprocess"]
