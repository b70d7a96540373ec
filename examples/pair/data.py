"""Pairs of successive pictures from folders and videos, and the augmentation that makes many scenes of few."""
import glob
import os

import cv2
import numpy as np
import torch
from torch.nn import functional as F


def read(path, stride):
    """All n-th neighbours of a source: uint8 [T,2,3,H,W], red first; each entry a picture and the one after it."""
    if os.path.isdir(path):
        inside = os.path.join(path, "img1")
        files = sorted(f for f in glob.glob(os.path.join(inside if os.path.isdir(inside) else path, "*")) if f.lower().endswith((".jpg", ".png")))
        pictures = (cv2.imread(f) for f in files)
    else:
        pictures = frames(path)
    pairs, before = [], None
    for n, picture in enumerate(pictures):
        picture = np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1))
        if n % stride == 1 or (stride == 1 and n):
            pairs.append(np.stack([before, picture]))
        before = picture
    if not pairs:
        raise SystemExit(f"{path}: no two successive pictures")
    return torch.from_numpy(np.stack(pairs))


def frames(path):
    video = cv2.VideoCapture(path)
    while True:
        ok, picture = video.read()
        if not ok:
            return
        yield picture


class Scenes:
    """Draws batches of pairs: [B,2,3,H,W], 0 to 255."""

    def __init__(self, sources, size, pad, device, generator):
        self.sources = [s.to(device) for s in sources]
        self.size, self.pad, self.device, self.random = size, pad, device, generator

    def uniform(self, low, high):
        return low + (high - low) * torch.rand((), generator=self.random).item()

    def chance(self, p):
        return self.uniform(0, 1) < p

    def batch(self, count):
        return torch.stack([self.scene() for _ in range(count)])

    def plain(self, source, n):
        """The n-th pair of a source as the network would see it: scaled to fit, padded."""
        pair = self.sources[source][n].float()
        scale = min(self.size[0] / pair.shape[2], self.size[1] / pair.shape[3])
        side = [round(pair.shape[2] * scale), round(pair.shape[3] * scale)]
        out = F.interpolate(pair, side, mode="bilinear", align_corners=False)
        return F.pad(out, (0, self.size[1] - side[1], 0, self.size[0] - side[0]), value=self.pad)

    def scene(self):
        """One picture as it is, one changed, or a patchwork of four or nine: what is small then is small as in a wide view."""
        kind = self.uniform(0, 1)
        if kind < 0.2:
            source = int(self.uniform(0, len(self.sources)))
            out = self.plain(source, int(self.uniform(0, len(self.sources[source]))))
        else:
            count = 1 if kind < 0.5 else 2 if kind < 0.8 else 3
            rows, columns = (self.cuts(side, count) for side in self.size)
            motion = (self.uniform(-6, 6), self.uniform(-2, 2)) if self.chance(0.3) else (0.0, 0.0)
            out = torch.cat([torch.cat([self.tile(h, w, count, motion) for w in columns], -1) for h in rows], -2)
        return self.colours(out)

    def cuts(self, side, count):
        return [side // count] * (count - 1) + [side - side // count * (count - 1)]

    def tile(self, height, width, count, motion):
        """A window of a pair, scaled and perhaps mirrored; the second picture is moved, as by a camera that pans."""
        source = self.sources[int(self.uniform(0, len(self.sources)))]
        pair = source[int(self.uniform(0, len(source)))].float()
        fit = max(pair.shape[2] / height, pair.shape[3] / width)
        zoom = fit * self.uniform(0.45, 1.0) * self.uniform(0.9, 1.1)
        scale = [zoom * width / pair.shape[3], zoom * self.uniform(0.9, 1.1) * height / pair.shape[2]]
        centre = [self.uniform(-1, 1) * max(0.0, 1 - s) for s in scale]
        mirror = -1.0 if self.chance(0.5) else 1.0
        theta = torch.zeros(2, 2, 3)
        for n in range(2):
            theta[n, 0, 0], theta[n, 1, 1] = scale[0] * mirror, scale[1]
            theta[n, 0, 2] = centre[0] + n * 2 * motion[0] * scale[0] * mirror / width
            theta[n, 1, 2] = centre[1] + n * 2 * motion[1] * scale[1] / height
        if max(zoom, 1) > 1.3:
            # What is made smaller than half loses what bilinear sampling would alias.
            side = [max(1, round(pair.shape[2] / zoom)), max(1, round(pair.shape[3] / zoom))]
            pair = F.interpolate(pair, side, mode="area")
        grid = F.affine_grid(theta.to(self.device), (2, 3, height, width), align_corners=False)
        inside = F.grid_sample(pair - self.pad, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return inside + self.pad

    def colours(self, pair):
        if self.chance(0.15):
            pair = pair[:, torch.randperm(3, generator=self.random)]
        gain = torch.tensor([self.uniform(0.93, 1.07) for _ in range(3)], device=self.device) * self.uniform(0.7, 1.3)
        pair = pair * gain.view(1, 3, 1, 1) + self.uniform(-12, 12)
        if self.chance(0.3):
            pair = pair + self.uniform(0.5, 4) * torch.randn(pair.shape, device=self.device)
        return pair.clamp(0, 255)
