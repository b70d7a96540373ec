#!/usr/bin/python3
"""Pictures in, tracks out: the front half of a network, fcmenc, fcmdec and the back half in one program.

    cargo build --release
    cargo run --release -p fcm-scenes -- --out scenes --seed 4
    GST_PLUGIN_PATH=target/release /usr/bin/python3 examples/split_tracking.py scenes/scene-00004/img1/*.jpg

prints a line of JSON a picture (docs/caps.md, "Boxes"). Each line is there before the next picture goes in. It needs, on Debian,
python3-gi and gir1.2-gst-plugins-base-1.0. The same in Rust: split_tracking.rs.
"""

import json
import pathlib
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import GLib, Gst, GstApp  # noqa: E402, F401 (GstApp gives appsrc and appsink their methods)

FRAME_TIME = Gst.SECOND // 25
PATIENCE = 20 * Gst.SECOND  # longest time that one picture may take
NETWORK = pathlib.Path(__file__).resolve().parent / "data"

# The network's two halves; classes are 0 person and 1 vehicle. qp: higher means fewer bits.
PIPELINE = f"""
    appsrc name=in format=time caps=image/jpeg,framerate=25/1 ! jpegdec ! videoconvert
    ! tensorinfer model="{NETWORK}/front.onnx" ! fcmenc name=enc qp=30
    ! fcmdec ! tensorinfer model="{NETWORK}/back.onnx"
    ! tensordetect input-width=512 input-height=288 iou-threshold=0.45 labels=person,vehicle
    ! boxtrack high-score=0.45 low-score=0.3 ! appsink name=out sync=false
"""


def error(pipeline):
    """The first error on the bus, wherever in the pipeline it happened."""
    message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
    return message and f"{message.src.get_path_string()}: {message.parse_error()[0].message}"


def track(pipeline, pictures):
    """Yields the objects of every picture, with their numbers."""
    source, sink = pipeline.get_by_name("in"), pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    for n, picture in enumerate(pictures):
        buffer = Gst.Buffer.new_wrapped(pathlib.Path(picture).read_bytes())
        buffer.pts, buffer.duration = n * FRAME_TIME, FRAME_TIME
        source.push_buffer(buffer)
        # One in, one out: the tracks can be waited for right away.
        sample = sink.try_pull_sample(PATIENCE)
        if sample is None:
            raise RuntimeError(error(pipeline) or f"no tracks for {picture}")
        tracks = sample.get_buffer()
        yield json.loads(tracks.extract_dup(0, tracks.get_size()))
    source.end_of_stream()


def main():
    pictures = sys.argv[1:]
    if not pictures:
        sys.exit("name JPEG pictures, all of one size")
    Gst.init(None)
    try:
        pipeline = Gst.parse_launch(PIPELINE)
    except GLib.Error as problem:
        sys.exit(f"{problem.message}: is GST_PLUGIN_PATH set, and the plugin built?")
    try:
        for frame in track(pipeline, pictures):
            print(json.dumps(frame))
        bitrate = pipeline.get_by_name("enc").get_property("stats").get_uint64("bitrate")[1]
        print(f"{len(pictures)} pictures, {bitrate / 1000:.1f} kbit/s from half to half", file=sys.stderr)
    except (OSError, RuntimeError) as problem:
        sys.exit(str(problem))
    finally:
        pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()
