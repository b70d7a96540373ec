"""Rendered scenes (fcm-scenes) as arrays: pictures in one file that is mapped into memory, boxes beside it."""
import glob
import os

import numpy as np


def read(folder):
    """(pictures [n, 288, 512, 3] RGB uint8, list of boxes [k, 6]: left, top, right, bottom, class 0 or 1, 1 = counts).

    The pictures are decoded once, into pictures.npy in the folder."""
    scenes = sorted(glob.glob(os.path.join(folder, "scene-*")))
    if not scenes:
        raise SystemExit(f"{folder}: no scenes")
    names, boxes = [], []
    for scene in scenes:
        rows = np.loadtxt(os.path.join(scene, "gt", "gt.txt"), delimiter=",", ndmin=2)
        pictures = sorted(glob.glob(os.path.join(scene, "img1", "*")))
        names += pictures
        for frame in range(1, len(pictures) + 1):
            r = rows[rows[:, 0] == frame]
            corners = np.concatenate([r[:, 2:4], r[:, 2:4] + r[:, 4:6]], 1)
            boxes.append(np.concatenate([corners, r[:, 7:8] == 3, r[:, 6:7]], 1).astype(np.float32))
    path = os.path.join(folder, "pictures.npy")
    if not os.path.exists(path):
        from PIL import Image

        first = np.asarray(Image.open(names[0]))
        out = np.lib.format.open_memmap(path + ".part", "w+", np.uint8, (len(names), *first.shape))
        for k, name in enumerate(names):
            out[k] = np.asarray(Image.open(name))
        out.flush()
        os.replace(path + ".part", path)
    return np.load(path, mmap_mode="r"), boxes
