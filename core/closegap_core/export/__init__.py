"""From a trained model to one self-contained ONNX file that has been compared with it."""
