"""The tracker from detected points on as one ONNX file, for engines and browsers."""
