import os
from fractions import Fraction

import av
import numpy as np
import pytest

from mmbal.data.media.container import Clip, duration
from mmbal.data.media.decode import Unusable
from mmbal.data.media.frames import due_times, read_frames
from mmbal.data.media.pictures import read_picture
from mmbal.data.media.sound import read_audio


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".flv", ".webm", ".mov"])
def test_every_container_gives_its_frames_and_its_tone(tmp_path, clip, suffix):
    path = clip(tmp_path / f"a{suffix}", seconds=2.0, tone=1000.0, rate=48000)
    frames = read_frames(path, 4, 32)
    # Frame k is grey of 30 + 4 k; the middles of four parts of two seconds are frames 6, 18, 31, 43 (25 a second).
    assert frames.array.shape == (4, 3, 32, 32)
    assert frames.array.mean(axis=(1, 2, 3)) == pytest.approx([54, 102, 154, 202], abs=9)
    sound, rate = read_audio(path)
    spectrum = np.abs(np.fft.rfft(sound.array[rate // 4 : rate // 4 + rate]))
    assert np.argmax(spectrum) == pytest.approx(1000, abs=2)  # one second: bins are Hz
    assert sound.seconds == pytest.approx(2.0, abs=0.15)
    assert duration(path) == pytest.approx(2.0, abs=0.15)


def test_a_time_range_gives_its_frames_and_samples(tmp_path, clip):
    wave = np.zeros(4 * 8000)
    wave[3 * 8000 :] = 0.5  # the last second is loud
    path = clip(tmp_path / "a.mp4", seconds=4.0, rate=8000, wave=wave)
    frames = read_frames(path, 2, 16, start=3.0, end=3.9)
    assert frames.array.mean(axis=(1, 2, 3)) == pytest.approx([30 + 2 * 80, 30 + 2 * 91], abs=9)
    wav = clip(tmp_path / "a.wav", rate=8000, wave=wave)
    before, rate = read_audio(wav, 2.5, 3.0)
    after, _ = read_audio(wav, 3.0, 3.5)
    assert (len(before.array), len(after.array), rate) == (4000, 4000, 8000)
    assert np.abs(before.array).max() == 0
    assert after.array.min() == pytest.approx(0.5, abs=1e-3)


def test_frames_after_a_jump_are_those_of_a_whole_decode(shared_data):
    path = shared_data / "grid_s1" / "clips" / "bbaf5a.mpg"  # a stream without an index: a jump lands too late
    with av.open(str(path)) as container:
        every = [
            (frame.time, frame.reformat(48, 48, "gbrp", interpolation="AREA").to_ndarray())
            for frame in container.decode(video=0)
        ]
    got = read_frames(path, 3, 48, start=1.5, end=2.4).array
    for time, frame in zip((1.65, 1.95, 2.25), got, strict=True):
        shown = [picture for t, picture in every if t <= time][-1]
        assert np.array_equal(np.moveaxis(frame, 0, -1), shown)


@pytest.fixture
def uneven(tmp_path):
    """A clip of 60 frames at uneven times (0, 1, 3, 4, 6, 7... 30ths of a second), about half of which no other frame is
    predicted from.
    """
    path = tmp_path / "uneven.mp4"
    y, x = np.mgrid[:64, :64]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"x264-params": "b-adapt=0:bframes=3"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, 30)
        for k in range(60):
            picture = np.stack([3 * x + 5 * k, 2 * y + 3 * k, x + y + k], axis=-1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = k + k // 2, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("n", [1, 4, 29, 90])
def test_frames_left_out_in_decoding_change_no_frame_that_is_kept(uneven, n):
    with av.open(str(uneven)) as container:
        every = [
            (frame.time, frame.reformat(48, 48, "gbrp", interpolation="AREA").to_ndarray())
            for frame in container.decode(video=0)
        ]
    assert len(every) == 60
    got = read_frames(uneven, n, 48, start=0.1, end=2.9).array
    for time, frame in zip(due_times(0.1, 2.9, n, None), got, strict=True):
        shown = [picture for t, picture in every if t <= time][-1]
        assert np.array_equal(np.moveaxis(frame, 0, -1), shown)


def test_frames_that_are_not_due_and_that_none_is_predicted_from_are_left_out(uneven):
    with Clip(uneven) as clip:
        track = clip.track("video")
        track.due = 1.5
        times = [time for time, _ in track.frames(0.0)]
    assert len([t for t in times if t > 1.5]) == 29  # two frames every 0.1 s: what is not yet due is all there
    assert len([t for t in times if t <= 1.5]) < 25  # of 31
    assert 1.5 in times


def test_of_several_streams_the_best_are_taken(shared_data):
    path = shared_data / "av_clips" / "nasa_13013.mp4"  # two video, two audio and two subtitle streams
    assert read_frames(path, 2, 32).array.shape == (2, 3, 32, 32)
    sound, rate = read_audio(path)
    assert rate == 16000  # the other one has 8 kHz
    assert sound.seconds == pytest.approx(13.06, abs=0.01)


def test_due_times_by_rate_and_without():
    assert due_times(0, 3, 3, None) == pytest.approx([0.5, 1.5, 2.5])
    assert due_times(1, 4, 5, 1.0) == pytest.approx([1.5, 1.5, 2.5, 3.5, 3.5])  # three are due, five wanted
    assert due_times(0, 10, 2, 1.0) == pytest.approx([2.5, 7.5])  # of ten, the middles of two halves


@pytest.mark.parametrize("suffix", [".mkv", ".flv"])  # an AVI or MPEG stream does not tell that its end is gone
def test_a_truncated_clip_gives_what_it_has_and_says_so(tmp_path, clip, suffix):
    def noise(k):
        return np.random.default_rng(k).integers(0, 255, (64, 64, 3), dtype=np.uint8)

    whole = clip(tmp_path / f"a{suffix}", seconds=4.0, picture=noise)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = read_frames(cut, 4, 16)
    assert "truncated" in [kind for kind, _ in frames.remarks]
    assert "truncated" in [kind for kind, _ in read_audio(cut)[0].remarks]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (None, "missing"),
        (b"", "empty"),
        (b"no media at all" * 40, "corrupt"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "pointer"),
    ],
)
def test_what_is_no_media_is_unusable_with_its_kind(tmp_path, content, kind):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    for read in (lambda: read_audio(path), lambda: read_frames(path, 2, 16), lambda: read_picture(path, 16)):
        with pytest.raises(Unusable) as caught:
            read()
        assert caught.value.kind == kind


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(Unusable, match="not a regular file"):
        read_audio(tmp_path / "a.mp4")


def test_a_missing_stream_is_named(tmp_path, clip):
    with pytest.raises(Unusable, match="no audio"):
        read_audio(clip(tmp_path / "a.mp4", audio=False))
    with pytest.raises(Unusable, match="no video"):
        read_frames(clip(tmp_path / "b.wav"), 2, 16)
    with pytest.raises(Unusable, match="lasts"):
        read_frames(clip(tmp_path / "c.mp4"), 2, 16, start=5.0, end=6.0)
    with pytest.raises(Unusable, match="lasts"):
        read_audio(clip(tmp_path / "d.wav"), 5.0, 6.0)


def test_a_stream_that_claims_no_length_is_measured(tmp_path, clip):
    """As browsers record: a WebM written to a pipe has no duration in its header."""
    whole = clip(tmp_path / "a.webm", seconds=2.0, rate=48000)
    live = tmp_path / "live.webm"
    with av.open(str(whole)) as source, av.open(str(live), "w", format="webm", options={"live": "1"}) as sink:
        streams = {s.index: sink.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                sink.mux(packet)
    with av.open(str(live)) as container:
        assert container.duration is None
    assert read_frames(live, 4, 32).array.mean(axis=(1, 2, 3)) == pytest.approx([54, 102, 154, 202], abs=9)


def test_of_a_long_sound_only_what_is_kept_is_decoded(tmp_path, clip):
    path = clip(tmp_path / "a.wav", seconds=30.0, rate=8000)
    sound, _ = read_audio(path, 2.0, None, 1.5)
    assert len(sound.array) == 12000
    assert sound.seconds == pytest.approx(28.0)  # what the file has from there, not what was kept
    assert sound.remarks == []
    assert read_audio(path, 2.0, 3.0, 1.5)[0].array.shape == (8000,)
