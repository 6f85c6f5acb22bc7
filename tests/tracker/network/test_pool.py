"""The subject of a stream is that of all its frames together."""

from pathlib import Path

import torch

from selftrack.tracker.geometry.crop import face_crop
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.network.pool import SubjectPool
from selftrack.tracker.sources.opening import open_source


def test_the_subject_of_a_stream_is_the_pool_of_its_frames(smile: Path) -> None:
    model, found = Model.load(device="cpu"), []
    follower = model.landmarks.follower(DetectConfig())
    with open_source(smile, duration=0.5) as source:
        for frame in source:
            seen = follower(frame.image, frame.time)
            assert seen is not None
            found.append(face_crop(frame.image, seen.points))
    with torch.no_grad():
        features = model.network.features(*model.tensors(Crops.of(found)))
        own = model.network.heads.regress(features).subject
        expected = model.network.heads.pool(features, own)[0]
        pool = SubjectPool(model.network)
        for i in range(len(found)):
            pooled = pool(type(features)(*(part[i : i + 1] for part in features)))
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-5)
    assert (pooled - own[-1]).abs().max() > 1e-3
