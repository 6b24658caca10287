//! What the ONNX parsers of TensorRT refuse.
