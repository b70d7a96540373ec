"""Makes scene.npz and calibration.npz of examples/data: rendered scenes through front.onnx.

python make_features.py --data FOLDER [--out ../data]

FOLDER holds demo/ (scene 7) and calibration/ (scenes 500-553, one frame each) as fcm-scenes writes them with --png.
"""
import argparse
import os

import numpy as np

from data import read


def rounded(x, steps):
    """float16 on a uniform grid, about `steps` to a standard deviation: what a network run in coarse fixed-point arithmetic hands over,
    and a far smaller file."""
    step = 2.0 ** np.round(np.log2(x.std() / steps))
    return (np.round(x / step) * step).astype(np.float16)


def main():
    import onnxruntime

    here = os.path.dirname(os.path.abspath(__file__))
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--data", required=True)
    a.add_argument("--out", default=os.path.join(here, "../data"), help="where front.onnx is and the features go")
    a = a.parse_args()
    front = onnxruntime.InferenceSession(os.path.join(a.out, "front.onnx"), providers=["CPUExecutionProvider"])
    names = [o.name for o in front.get_outputs()]
    for source, name, steps in (("demo", "scene", 4), ("calibration", "calibration", 1)):
        pictures, _ = read(os.path.join(a.data, source))
        frames = [front.run(None, {"picture": p.transpose(2, 0, 1)[None].astype(np.float32)}) for p in pictures]
        layers = {n: rounded(np.concatenate(values), steps) for n, values in zip(names, zip(*frames))}
        path = os.path.join(a.out, name + ".npz")
        np.savez_compressed(path, **layers)
        print(f"{path}: {os.path.getsize(path)} bytes")
        for k, v in layers.items():
            v = v.astype(np.float64)
            print(f"  {k} {'x'.join(map(str, v.shape))}: mean {v.mean():+.4f}, std {v.std():.4f}, within 0.1 of zero {np.mean(np.abs(v) < 0.1):.2f}")


if __name__ == "__main__":
    main()
