"""The tracker: what belongs to one clip is its own, what is shared is never changed."""

import copy
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selftrack.decoders.head.model import load_head
from selftrack.errors import UserError
from selftrack.tracker.frame_result import FrameResult
from selftrack.tracker.geometry.crop import face_crop
from selftrack.tracker.landmarks.search import DetectConfig
from selftrack.tracker.model import Crops, Model
from selftrack.tracker.network.weights import ClipFit
from selftrack.tracker.refinement.observation import Refined
from selftrack.tracker.refinement.sequence import Refinement
from selftrack.tracker.refinement.subject import Person, Subject
from selftrack.tracker.results.clip import has_clip, open_clip
from selftrack.tracker.results.track_file import Track
from selftrack.tracker.rows import NoRows
from selftrack.tracker.sources.base import Frame
from selftrack.tracker.sources.opening import open_source
from selftrack.tracker.tracker import Tracker, TrackerConfig

ARRAYS = ("times", "ok", "confidence", "presence", "sharpness", "z", "H", "crop", "H_image", "landmarks")
HEAD = load_head()


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(device="cpu")


@pytest.fixture(scope="module")
def frames(smile: Path) -> list[Frame]:
    """Half a second of the bundled clip."""
    with open_source(smile, duration=0.5) as source:
        return list(source)


def tracked(model: Model, frames: Sequence[Frame | np.ndarray], config: TrackerConfig | None = None) -> Track:
    tracker = Tracker(model, config)
    for frame in frames:
        tracker(frame)
    return tracker.finish()


def assert_same(one: Track, other: Track) -> None:
    """Bit for bit."""
    for name in (*ARRAYS, "curve_values", "identity"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_no_picture_becomes_numbers_that_no_stream_looks_at(
    model: Model, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled network reads points alone: neither tracking nor comparing models costs a conversion."""
    monkeypatch.setattr("selftrack.tracker.model.to_tensor", lambda _: pytest.fail("a picture was converted"))
    assert not model.network.looks
    assert tracked(model, frames[:2]).ok.all()
    found = model.landmarks.follower(DetectConfig())(frames[0].image, 0.0)
    crops = Crops.of([face_crop(frames[0].image, found.points)])
    subject = model.subject(crops)
    assert model.shows_rest(crops) in (True, False) and 0 < model.landmark_distance(crops, subject) < 10


def test_two_trackers_in_two_threads_are_as_each_alone(model: Model, frames: list[Frame]) -> None:
    mirrored = [Frame(f.index, f.time, np.ascontiguousarray(f.image[:, ::-1])) for f in frames]
    alone = [tracked(model, clip) for clip in (frames, mirrored)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda clip: tracked(model, clip), (frames, mirrored)))
    for one, other in zip(alone, together, strict=True):
        assert one.ok.all()
        assert_same(one, other)


def test_a_stream_gives_what_calls_give(model: Model, frames: list[Frame]) -> None:
    tracker = Tracker(model)
    assert [result.index for result in tracker.stream(frames)] == list(range(len(frames)))
    assert_same(tracker.finish(), tracked(model, frames))


def test_an_error_in_a_stream_comes_after_what_was_tracked(fake_model: Callable[..., Model]) -> None:
    good, bad = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 60, 3), np.uint8)
    tracker, indices = Tracker(fake_model(lost={-1})), []
    with pytest.raises(ValueError, match="60x40 after frames of 40x40"):
        for result in tracker.stream([good, good, bad, good]):
            indices.append(result.index)
    assert indices == [0, 1]


def test_no_frame_depends_on_a_later_one(model: Model, frames: list[Frame]) -> None:
    whole, begun = tracked(model, frames), tracked(model, frames[:6])
    for name in ("z", "H_image", "landmarks", "confidence"):
        np.testing.assert_array_equal(getattr(begun, name), getattr(whole, name)[:6], err_msg=name)


def test_a_second_clip_does_not_follow_the_first_ones_face(model: Model, frames: list[Frame]) -> None:
    """The face of the first clip is at the left; in the second it is there too, but the largest is at the right."""
    small = np.ascontiguousarray(frames[0].image[::2, ::2])
    height, width = small.shape[:2]
    first = np.zeros((2 * height, 4 * width, 3), np.uint8)
    first[:height, :width] = small
    second = first.copy()
    second[:, 2 * width :] = frames[0].image
    before, after = tracked(model, [first] * 2), tracked(model, [second] * 2)
    assert before.ok.all() and np.median(before.landmarks[1, :, 0]) < width
    assert after.ok.all() and np.median(after.landmarks[0, :, 0]) > 2 * width
    assert_same(after, tracked(Model.load(device="cpu"), [second] * 2))


def test_tracking_changes_nothing_of_the_model(frames: list[Frame]) -> None:
    model = Model.load(device="cpu")
    before = copy.deepcopy(model.network.state_dict()), copy.deepcopy(model.decoder.state_dict())
    tracked(model, frames[:4])
    for old, module in zip(before, (model.network, model.decoder), strict=True):
        assert all(torch.equal(value, old[name]) for name, value in module.state_dict().items())
        assert not module.training and not any(p.requires_grad for p in module.parameters())
    with pytest.raises(AttributeError):
        model.device = torch.device("meta")  # type: ignore[misc]


def test_two_models_share_no_tensor() -> None:
    """What somebody moves or trains of one is not the other's."""
    one, other = Model.load(device="cpu"), Model.load(device="cpu")
    addresses = [
        {t.data_ptr() for part in (m.network, m.decoder) for t in (*part.parameters(), *part.buffers()) if t.numel()}
        for m in (one, other)
    ]
    assert addresses[0] and not addresses[0] & addresses[1]


def _results(model: Model, frames: Sequence[Frame]) -> list[FrameResult]:
    tracker = Tracker(model)
    return [tracker(frame) for frame in frames]


def test_results_are_the_rows_of_the_track(model: Model, frames: list[Frame]) -> None:
    tracker = Tracker(model)
    rows = [tracker(frame) for frame in frames[:3]]
    track = tracker.finish()
    for i, row in enumerate(rows):
        assert (row.index, row.time, row.ok) == (i, frames[i].time, True)
        np.testing.assert_array_equal(row.H_image, track.H_image[i])
        np.testing.assert_allclose(row.vertices(), track.vertices(slice(i, i + 1))[0], atol=1e-4)
        assert row.curves == pytest.approx({k: float(v[i]) for k, v in track.curves().items()}, abs=1e-6)


def test_a_part_of_a_clip_is_read_again_as_that_part(model: Model, smile: Path) -> None:
    tracker = Tracker(model)
    with open_source(smile, start=0.5, duration=0.1) as source:
        pictures = [frame.image for frame in source if tracker(frame)]
        track = tracker.finish(source)
    with open_clip(track, verify=True) as again:
        assert [np.array_equal(frame.image, image) for frame, image in zip(again, pictures, strict=True)] == [True] * 3


def test_pictures_from_memory(model: Model, frames: list[Frame]) -> None:
    """Thirty a second unless times say otherwise; no clip to read again."""
    images = [frame.image for frame in frames[:3]]
    track = tracked(model, images)
    np.testing.assert_allclose(track.times, np.arange(3) / 30)
    assert track.clip == "" and not has_clip(track)
    with pytest.raises(UserError, match="pictures from memory"):
        open_clip(track)
    tracker = Tracker(model)
    for image, time in zip(images, (1.0, 1.5, 1.75), strict=True):
        assert tracker(image, time).time == time


@pytest.mark.parametrize(
    ("pictures", "times", "words"),
    [
        ([np.zeros((40, 40), np.uint8)], [None], "expected a frame"),
        ([np.zeros((40, 40, 3), np.float32)], [None], "expected a frame"),
        ([np.zeros((40, 40, 3), np.uint8)] * 2, [1.0, 0.5], "0.5 s comes after one at 1.0 s"),
        ([np.zeros((40, 40, 3), np.uint8), np.zeros((40, 60, 3), np.uint8)], [0.0, 0.1], "60x40 after frames of 40x40"),
    ],
)
def test_wrong_frames_are_refused(
    fake_model: Callable[..., Model], pictures: list[np.ndarray], times: list[float | None], words: str
) -> None:
    tracker = Tracker(fake_model(lost={-1}))
    *good, bad = zip(pictures, times, strict=True)
    for picture, time in good:
        tracker(picture, time)
    with pytest.raises(ValueError, match=words):
        tracker(*bad)


def test_an_empty_track_is_refused(fake_model: Callable[..., Model]) -> None:
    with pytest.raises(UserError, match="at least one frame"):
        Tracker(fake_model()).finish()


def test_an_adapted_model_leaves_the_one_it_was_made_from(model: Model, frames: list[Frame]) -> None:
    """And the subject of a clip is that of the un-adapted network."""
    before = tracked(model, frames[:3])
    heads = copy.deepcopy(model.network.heads)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter += 0.01
    fit = ClipFit("", 0, Subject(torch.zeros(112), torch.zeros(60), 0.5))
    adapted = model.adapted(heads, fit)
    assert adapted.unadapted() is model and adapted.network is not model.network
    after = tracked(adapted, frames[:3])
    assert np.abs(after.z - before.z).max() > 1e-3 and after.inverse_distance == 0.5
    assert_same(before, tracked(model, frames[:3]))
    faces = Crops.of([face_crop(frames[0].image, before.landmarks[0])])
    one, other = adapted.subject(faces), model.subject(faces)
    assert torch.equal(one.network, other.network) and torch.equal(one.identity, other.identity)
    assert one.inverse_distance == other.inverse_distance > 0
    elsewhere = tracked(adapted.elsewhere(), frames[:3])
    assert elsewhere.inverse_distance == 0 and np.abs(elsewhere.identity).max() > 1e-3


def test_the_second_largest_face(model: Model, frames: list[Frame]) -> None:
    """`face` of a tracker's own settings: the shared detectors know nothing of it."""
    image = frames[0].image
    both = np.zeros((image.shape[0], 2 * image.shape[1], 3), np.uint8)
    both[:, : image.shape[1]] = image
    both[: image.shape[0] // 2, image.shape[1] : image.shape[1] * 3 // 2] = image[::2, ::2]
    places = [
        float(np.median(tracked(model, [both], TrackerConfig(detect=DetectConfig(face=face))).landmarks[0, :, 0]))
        for face in (0, 1, 0)
    ]
    assert places[0] == places[2] < image.shape[1] < places[1]


def test_frames_before_a_change_of_rest_show_the_same_faces(model: Model, frames: list[Frame]) -> None:
    """The person's rest is told anew while it runs: the track has one rest, and each frame's mesh as it was."""
    rest = np.zeros(52, np.float32)
    rest[[HEAD.expression_names.index(name) for name in ("jawOpen", "browInnerUp")]] = 0.2, 0.3
    tracker = Tracker(model)
    tracker.rest_on(rest)
    rows = [tracker(frame) for frame in frames[:4]]
    tracker.rest_on(np.zeros(52))
    rows += [tracker(frame) for frame in frames[4:8]]
    track = tracker.finish()
    assert not track.rest.any() and track.curves()["browInnerUp"][:4].min() >= 0.3
    skin = np.unique(HEAD.faces[HEAD.skin_faces].numpy())  # shut teeth stay shut, whatever the rest
    for i, row in enumerate(rows):
        np.testing.assert_allclose(track.vertices(slice(i, i + 1))[0][skin], row.vertices()[skin], atol=0.02)


def test_what_a_face_has_at_rest_leaves_the_curves(model: Model, frames: list[Frame]) -> None:
    """A rest that is what the curves read comes out of them: most of it where the network's part is told, too."""
    names = ("mouthPucker", "browInnerUp", "mouthShrugLower", "mouthFunnel", "jawOpen")
    mask = np.array([name in names for name in HEAD.expression_names])
    first = Tracker(model)
    told = np.array(list([first(frame) for frame in frames[:6]][-1].curves.values())) * mask

    def left(said: np.ndarray | None) -> float:
        tracker = Tracker(model)
        tracker.rest_on(told, said)
        last = [tracker(frame) for frame in frames[:6]][-1].curves
        return float(sum(last[name] for name in names))

    assert told.sum() > 0.3 and first.said.shape == (52,)
    assert left(first.said * mask) < 0.7 * left(None) and left(None) < 0.8 * told.sum()


def test_a_person_is_read_from_frames_a_tenth_of_a_second_apart(model: Model, frames: list[Frame]) -> None:
    """Of thirty a second every third, though three times a thirtieth may be a little less than a tenth."""
    tracker = Tracker(model)
    for number in range(31):
        tracker(frames[0].image, number / 30)
    assert tracker._person is not None and tracker._person._count == 11


def test_a_person_that_is_known_is_kept(model: Model, frames: list[Frame]) -> None:
    """Face and rest are those that are given; what the network is conditioned on comes from the stream."""
    identity = np.linspace(-1, 1, 60)
    rest = np.zeros(52)
    rest[HEAD.expression_names.index("mouthSmileLeft")] = 0.1
    tracker = Tracker(model, person=Person(identity, rest, 0.0))
    for frame in frames[:3]:
        tracker(frame)
    track = tracker.finish()
    np.testing.assert_allclose(track.z[:, HEAD.identity], np.tile(identity, (3, 1)), atol=1e-6)
    np.testing.assert_allclose(track.rest, rest, atol=1e-7)


def test_a_stream_of_which_nothing_is_kept(fake_model: Callable[..., Model]) -> None:
    tracker = Tracker(fake_model(), rows=NoRows())
    assert tracker(np.full((100, 120, 3), 10, np.uint8)).ok
    with pytest.raises(UserError, match="at least one frame"):
        tracker.finish()


def test_a_track_of_the_frames_so_far_stays_as_it_is(fake_model: Callable[..., Model]) -> None:
    """Also where the memory of later frames is made larger; each frame takes hardly more than its rows of the track."""
    tracker = Tracker(fake_model())
    image = np.full((100, 120, 3), 25, np.uint8)

    def after(count: int) -> Track:
        for _ in range(count):
            tracker(image)
        return tracker.finish()

    begun = after(60)
    before = {name: getattr(begun, name).copy() for name in ARRAYS}
    tracemalloc.start()
    whole = after(300)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(begun) == 60 and len(whole) == 360
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(begun, name), values)
        np.testing.assert_array_equal(getattr(whole, name)[:60], values)
    rows = sum(getattr(whole, name).nbytes for name in (*ARRAYS, "curve_values", "visible"))
    assert grown < 2 * rows  # room for half as many rows more, and the values that are held


def test_another_network_from_a_frame_on(model: Model, frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what it says to a tracker of its own; where it knows less of the face at rest than the tracker, the
    difference is taken from that."""
    heads = copy.deepcopy(model.network.heads)
    heads.linear.expression.weight.data *= 1.1
    other = replace(model, network=model.network.with_heads(heads), base=model)
    rest = np.zeros(52, np.float32)
    rest[HEAD.expression_names.index("mouthClose")] = 0.1
    late, never, always = (Tracker(one, rows=NoRows()) for one in (model, model, other))
    heard: list[np.ndarray] = []
    for frame in frames[:4]:
        for tracker in (late, never, always):
            tracker.rest_on(rest)
            tracker(frame)
    late.use(other, rest / 4)
    call = Refinement.__call__

    def listening(self: Refinement, points: np.ndarray, network: Refined, *more: object) -> Refined:
        heard.append(network.curves)
        return call(self, points, network, *more)

    monkeypatch.setattr(Refinement, "__call__", listening)
    for frame in frames[4:]:
        for tracker in (late, never, always):
            tracker(frame)
        np.testing.assert_array_equal(late.said, always.said)
        assert np.abs(late.said - never.said).max() > 1e-3
        expected = Refined.of((late.said - 0.75 * rest).clip(0), np.zeros(6)).curves
        np.testing.assert_allclose(heard[-3], expected, atol=1e-6)
