"""Makes tests/data/landmarks: crops of the bundled clip and what MediaPipe's own runtime says of them.

Run in a throw-away environment that has `mediapipe==0.10.21` (Python 3.11) and nothing of this project:
`python scripts/make_landmark_fixtures.py tests/data/smile.mp4 tests/data/landmarks`.
"""

import os
import sys
from pathlib import Path

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.python import packet_creator, packet_getter
from mediapipe.python._framework_bindings import calculator_graph, resource_util

CROPS = ((0, 296, 205, 300, 0), (27, 290, 200, 260, -8), (45, 300, 212, 330, 32), (60, 340, 190, 280, 10))
"""Frame of the clip, centre x, centre y and side in pixels, angle in degrees."""
SIZE, BOX_SIZE = 192, 128
GRAPH = """
input_stream: "image"
node {
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:image"
  output_stream: "TENSORS:input"
  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
    output_tensor_width: 192 output_tensor_height: 192 output_tensor_float_range { min: 0 max: 1 } } }
}
node {
  calculator: "TfLiteCustomOpResolverCalculator"
  output_side_packet: "OP_RESOLVER:resolver"
  options { [mediapipe.TfLiteCustomOpResolverCalculatorOptions.ext] { use_gpu: false } }
}
node {
  calculator: "InferenceCalculator"
  input_stream: "TENSORS:input"
  input_side_packet: "OP_RESOLVER:resolver"
  output_stream: "TENSORS:output"
  options { [mediapipe.InferenceCalculatorOptions.ext] {
    model_path: "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
    delegate { xnnpack {} } } }
}
node {
  calculator: "SplitTensorVectorCalculator"
  input_stream: "output"
  output_stream: "heads"
  output_stream: "presence_tensor"
  options { [mediapipe.SplitVectorCalculatorOptions.ext] {
    ranges { begin: 0 end: 6 } ranges { begin: 6 end: 7 } } }
}
node {
  calculator: "TensorsToFaceLandmarksWithAttention"
  input_stream: "TENSORS:heads"
  output_stream: "LANDMARKS:points"
}
node {
  calculator: "TensorsToFloatsCalculator"
  input_stream: "TENSORS:presence_tensor"
  output_stream: "FLOAT:presence"
  options { [mediapipe.TensorsToFloatsCalculatorOptions.ext] { activation: SIGMOID } }
}
"""


def cut_crops(clip: Path) -> list[np.ndarray]:
    """The crops (192, 192, 3) uint8 RGB."""
    capture = cv2.VideoCapture(str(clip))
    frames = []
    while len(frames) <= max(crop[0] for crop in CROPS):
        frames.append(capture.read()[1])
    crops = []
    for number, x, y, side, angle in CROPS:
        matrix = cv2.getRotationMatrix2D((x, y), angle, SIZE / side)
        matrix[:, 2] += SIZE / 2 - np.array([x, y])
        crops.append(cv2.warpAffine(frames[number], matrix, (SIZE, SIZE))[..., ::-1])
    return crops


def landmarks(crops: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Points (N, 478, 3) in pixels from the corner of the first pixel, and presence (N,)."""
    resource_util.set_resource_dir(os.path.dirname(os.path.dirname(os.path.abspath(mp.__file__))))
    graph = calculator_graph.CalculatorGraph(graph_config=GRAPH)
    points, presence = [], []
    graph.observe_output_stream("points", lambda _, packet: points.append(packet_getter.get_proto(packet)))
    graph.observe_output_stream("presence", lambda _, packet: presence.append(packet_getter.get_float(packet)))
    graph.start_run()
    for time, crop in enumerate(crops):
        packet = packet_creator.create_image_frame(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(crop))
        graph.add_packet_to_input_stream("image", packet.at(time))
    graph.close_all_packet_sources()
    graph.wait_until_done()
    scaled = [[(SIZE * p.x, SIZE * p.y, SIZE * p.z) for p in face.landmark] for face in points]
    return {"points": np.array(scaled, np.float32), "presence": np.array(presence, np.float32)}


def boxes(pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The face of each picture (128, 128, 3), in pixels from the corner of the first: corners and six points."""
    corners, points, scores = [], [], []
    with mp.solutions.face_detection.FaceDetection(model_selection=0) as detector:
        for picture in pictures:
            face = detector.process(picture).detections[0]
            box = face.location_data.relative_bounding_box
            corners.append((box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height))
            points.append([(p.x, p.y) for p in face.location_data.relative_keypoints])
            scores.append(face.score[0])
    scaled = {"box_corners": BOX_SIZE * np.array(corners), "box_points": BOX_SIZE * np.array(points)}
    return {**scaled, "box_scores": np.array(scores)}


def main(clip: Path, folder: Path) -> None:
    """Writes crop_N.png, box_N.png and expected.npz."""
    folder.mkdir(parents=True, exist_ok=True)
    crops = cut_crops(clip)
    small = [cv2.resize(crop, (BOX_SIZE, BOX_SIZE), interpolation=cv2.INTER_AREA) for crop in crops[:2]]
    for name, pictures in (("crop", crops), ("box", small)):
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(folder / f"{name}_{number}.png"), picture[..., ::-1])
    np.savez_compressed(folder / "expected.npz", **landmarks(crops), **boxes(small))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
