"""A trained detector as a file for other programs: ONNX or TorchScript, judged before it is given away."""
