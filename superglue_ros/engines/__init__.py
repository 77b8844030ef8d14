"""What runs the networks other than plainly: ONNX Runtime, TensorRT, CUDA graphs."""
