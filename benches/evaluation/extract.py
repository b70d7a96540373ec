"""Features of a real sequence: the images through the first half of YOLOX-nano, cut after its PAN neck (608x1088).

python3 extract.py --data ../../../shared/data --out ../../.cache/features

Needs only Python 3.9 or later with its venv module: on the first run the script makes a virtual environment beside the
output and installs onnxruntime, numpy and opencv-python-headless there. Writes one .npz a sequence (float16, one array a layer,
[frames, channels, height, width], named as the network's tensors) and features.json, which lists them: "test" is
TUD-Stadtmitte frames 1-96, "calibration" TUD-Campus and two plain videos. Files that are already there are kept.
"""
import argparse
import json
import os
import subprocess
import sys

TEST = ("TUD-Stadtmitte", 96, 1)  # sequence, frames, stride
CALIBRATION = (
    ("TUD-Campus", 71, 2),
    ("video/one-by-one-person-detection.mp4", 1390, 12),
    ("video/bottle-detection.mp4", 1180, 30),
)
MODEL, HEIGHT, WIDTH = "yolox_nano_608x1088.pan.front.onnx", 608, 1088
PACKAGES = ("onnxruntime", "numpy", "opencv-python-headless")


def file_name(sequence, frames, stride):
    return f"{sequence.replace('/', '_')}_yolox_pan_{frames}_{stride}.npz"


def in_environment(folder):
    """Runs this script again inside a virtual environment that has the packages, unless they are here already."""
    try:
        import cv2, numpy, onnxruntime  # noqa: F401, E401

        return
    except ImportError:
        if os.environ.get("FCM_EXTRACT_VENV"):
            raise
    python = os.path.join(folder, "bin", "python")
    if not os.path.exists(python):
        print(f"making a virtual environment in {folder} with {', '.join(PACKAGES)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
    sys.exit(subprocess.run([python, *sys.argv], env={**os.environ, "FCM_EXTRACT_VENV": "1"}).returncode)


def pictures(data, sequence, frames, stride):
    """BGR pictures 1, 1 + stride, ... of the first `frames`."""
    import cv2

    if sequence.startswith("video/"):
        path = os.path.join(data, sequence)
        video = cv2.VideoCapture(path)
        for i in range(frames):
            ok, picture = video.read()
            if not ok:
                if i == 0:
                    sys.exit(f"{path}: cannot be read")
                return
            if i % stride == 0:
                yield picture
        return
    for i in range(1, frames + 1, stride):
        path = os.path.join(data, "mot", sequence, "img1", f"{i:06d}.jpg")
        picture = cv2.imread(path)
        if picture is None:
            sys.exit(f"{path}: cannot be read")
        yield picture


def network_input(picture):
    """The picture scaled into the upper left corner, the rest filled with 114: what YOLOX was trained on."""
    import cv2
    import numpy as np

    h, w = picture.shape[:2]
    r = min(HEIGHT / h, WIDTH / w)
    h, w = int(round(h * r)), int(round(w * r))
    canvas = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    canvas[:h, :w] = cv2.resize(picture, (w, h))
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32)


def extract(data, out, sequence, frames, stride):
    import numpy as np
    import onnxruntime as ort

    name = file_name(sequence, frames, stride)
    path = os.path.join(out, name)
    if os.path.exists(path):
        return name
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(os.path.join(data, "models", MODEL), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    layers = {o.name: [] for o in session.get_outputs()}
    for picture in pictures(data, sequence, frames, stride):
        for got, value in zip(layers.values(), session.run(None, {source: network_input(picture)})):
            got.append(value[0].astype(np.float16))
    temporary = path + ".part.npz"
    np.savez(temporary, **{k: np.stack(v) for k, v in layers.items()})
    os.replace(temporary, path)
    print(f"{name}: {len(next(iter(layers.values())))} frames", flush=True)
    return name


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True, help="folder with models/, mot/ and video/")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    if not os.path.exists(os.path.join(a.data, "models", MODEL)):
        sys.exit(f"{os.path.join(a.data, 'models', MODEL)} is not there")
    os.makedirs(a.out, exist_ok=True)
    in_environment(os.path.join(os.path.abspath(a.out), "venv"))
    made = {"test": extract(a.data, a.out, *TEST), "calibration": [extract(a.data, a.out, *c) for c in CALIBRATION]}
    with open(os.path.join(a.out, "features.json"), "w") as f:
        json.dump(made, f, indent=1)


if __name__ == "__main__":
    main()
