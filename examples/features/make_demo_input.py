"""Makes ../data/scene.npz and ../data/calibration.npz: scenes.py rendered, through network.py trained on other scenes.

python make_demo_input.py [--steps 700] [--out ../data] [--preview FOLDER]     (needs numpy and scipy)
Seeds: 1000.. training, 500.. calibration, 7 the demo sequence; no scene is in two of the three sets.
"""
import argparse
import os
import time

import numpy as np

from network import Network, loss, targets, train
from scenes import HEIGHT, WIDTH, Scene

NAMES = ("p3", "p4", "p5")
DEMO_SEED, DEMO_FRAMES = 7, 40
CALIBRATION_SEED, CALIBRATION_SCENES = 500, 56


class Batches:
    """Pictures of training scenes, eight at a time, each scene at two instants."""

    def __init__(self, steps):
        self.steps = steps

    def __len__(self):
        return self.steps

    def __iter__(self):
        r = np.random.default_rng(1)
        for step in range(self.steps):
            got = [Scene(1000 + 4 * step + k // 2).frame(int(r.integers(0, 500))) for k in range(8)]
            yield np.stack([p for p, _ in got]), [b for _, b in got]


def rounded(x, steps):
    """float16 on a uniform grid, about `steps` to a standard deviation: what a network run in 8-bit arithmetic hands over,
    and a file a third of the size."""
    step = 2.0 ** np.round(np.log2(x.std() / steps))
    return (np.round(x / step) * step).astype(np.float16)


def features(network, frames, steps):
    layers = [[], [], []]
    for picture, _ in frames:
        for out, p in zip(layers, network.pyramid(picture[None])):
            out.append(p[0])
    return {n: rounded(np.stack(v), steps) for n, v in zip(NAMES, layers)}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--steps", type=int, default=700)
    a.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data"))
    a.add_argument("--preview")
    a = a.parse_args()
    network, start, recent = Network(3), time.time(), []
    for step, value in train(network, Batches(a.steps)):
        recent = recent[-49:] + [value]
        if step % 50 == 49:
            print(f"step {step + 1}: loss {np.mean(recent):.3f}, {time.time() - start:.0f} s", flush=True)
    demo = [Scene(DEMO_SEED).frame(t) for t in range(DEMO_FRAMES)]
    shots = [Scene(CALIBRATION_SEED + k).frame(17 * k) for k in range(CALIBRATION_SCENES)]
    held_out = [loss(network.heads(network.pyramid(p[None])), [targets(b, HEIGHT, WIDTH)])[0] for p, b in shots]
    print(f"loss on {len(shots)} scenes never trained on: {np.mean(held_out):.3f}")
    os.makedirs(a.out, exist_ok=True)
    for name, frames, steps in (("scene", demo, 32), ("calibration", shots, 8)):
        path = os.path.join(a.out, name + ".npz")
        np.savez_compressed(path, **features(network, frames, steps))
        z = np.load(path)
        shapes = ", ".join(f"{k} {'x'.join(map(str, z[k].shape))}" for k in z.files)
        print(f"{path}: {shapes}, {os.path.getsize(path)} bytes")
        for k in z.files:
            v = z[k].astype(np.float64)
            print(f"  {k}: mean {v.mean():+.4f}, std {v.std():.4f}, within 0.1 of zero {np.mean(np.abs(v) < 0.1):.2f}")
    if a.preview:
        import cv2

        os.makedirs(a.preview, exist_ok=True)
        for k, (picture, boxes) in enumerate(demo[::10] + shots[:4]):
            p = np.ascontiguousarray(picture[..., ::-1])
            for _, x0, y0, x1, y1 in boxes:
                cv2.rectangle(p, (int(x0), int(y0)), (int(x1), int(y1)), (0, 255, 0), 1)
            cv2.imwrite(os.path.join(a.preview, f"{k}.png"), p)


if __name__ == "__main__":
    main()
