"""Rendered scenes: people and vehicles moving over a textured, noisy street, with occlusion and changing light.

Everything comes from the seed; no picture of the real world is used. `Scene(seed).frame(t)` gives an RGB picture
(uint8, HEIGHT x WIDTH x 3) and the visible objects as rows (kind, x0, y0, x1, y1) with kind 0 = person, 1 = vehicle.
"""
import numpy as np
from scipy.ndimage import gaussian_filter

HEIGHT, WIDTH = 256, 448
FPS = 25.0
ROWS = np.arange(HEIGHT, dtype=np.float32)[:, None, None]


def _paint(picture, shape, colour):
    """Paints a shape, given as (bounding box, signed distance as a function of x and y, negative inside). Coverage falls
    from 1 to 0 over one pixel, so that edges move by parts of a pixel. `colour` is a value or a function of the window."""
    (x0, y0, x1, y1), distance = shape
    rows = slice(int(np.clip(y0 - 1, 0, HEIGHT)), int(np.clip(y1 + 2, 0, HEIGHT)))
    columns = slice(int(np.clip(x0 - 1, 0, WIDTH)), int(np.clip(x1 + 2, 0, WIDTH)))
    window = picture[rows, columns]
    if not window.size:
        return
    y, x = np.mgrid[rows, columns].astype(np.float32)
    a = np.clip(0.5 - distance(x, y), 0.0, 1.0)[..., None]
    window += a * ((colour(window, y) if callable(colour) else colour) - window)


def _ellipse(cx, cy, rx, ry):
    return (cx - rx, cy - ry, cx + rx, cy + ry), lambda x, y: (np.hypot((x - cx) / rx, (y - cy) / ry) - 1.0) * min(rx, ry)


def _box(x0, y0, x1, y1):
    return (x0, y0, x1, y1), lambda x, y: np.maximum(np.maximum(x0 - x, x - x1), np.maximum(y0 - y, y - y1))


def _limb(ax, ay, bx, by, radius):
    dx, dy = bx - ax, by - ay

    def distance(x, y):
        k = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-6), 0.0, 1.0)
        return np.hypot(x - ax - k * dx, y - ay - k * dy) - radius

    return (min(ax, bx) - radius, min(ay, by) - radius, max(ax, bx) + radius, max(ay, by) + radius), distance


class Scene:
    def __init__(self, seed):
        r = self._r = np.random.default_rng(seed)
        self._seed = seed
        self.horizon = r.uniform(0.25, 0.4) * HEIGHT
        self.background = self._street(r)
        self.occluders = [
            (r.uniform(0, WIDTH), r.uniform(3, 9), r.uniform(0.55, 0.95) * HEIGHT, r.uniform(20, 90, 3)) for _ in range(2)
        ]
        self.things = [self._thing(r) for _ in range(int(r.integers(6, 12)))]
        self.light = (r.uniform(0.05, 0.2), r.uniform(1.5, 5.0), r.uniform(0, 2 * np.pi), r.uniform(-0.03, 0.03))

    def _street(self, r):
        noise = lambda: r.standard_normal((HEIGHT, WIDTH, 3), dtype=np.float32)
        texture = sum(gaussian_filter(noise(), (s, s, 0)) * s * w for s, w in ((0.8, 12.0), (3.0, 12.0), (14.0, 16.0)))
        wall, ground = r.uniform(90, 190, 3), r.uniform(60, 140) + r.uniform(-12, 12, 3)
        b = np.where(ROWS < self.horizon, wall, ground + (ROWS - self.horizon) * 0.12) + texture
        b = b.astype(np.float32)
        for _ in range(int(r.integers(6, 14))):
            x, y = r.uniform(0, WIDTH), r.uniform(0, self.horizon)
            _paint(b, _box(x, y, x + r.uniform(12, 50), y + r.uniform(10, 40)), r.uniform(20, 220, 3))
        for k in range(3):
            y = self.horizon + (k + 1) * (HEIGHT - self.horizon) / 4
            for x in np.arange(r.uniform(-30, 0), WIDTH, 46.0):
                _paint(b, _box(x, y, x + 20, y + 1.5 + k), np.array([200.0, 200.0, 190.0]))
        return b

    def _thing(self, r):
        kind = int(r.random() < 0.3)
        foot = r.uniform(self.horizon + 14, HEIGHT + 8)
        scale = 0.25 + 0.75 * (foot - self.horizon) / (HEIGHT - self.horizon)
        speed = r.choice([-1.0, 1.0]) * (r.uniform(14, 45) if kind == 0 else r.uniform(30, 120)) * scale
        return dict(
            kind=kind, foot=foot, h=(r.uniform(85, 125) if kind == 0 else r.uniform(55, 85)) * scale, x=r.uniform(0, WIDTH),
            speed=speed, phase=r.uniform(0, 2 * np.pi), gait=r.uniform(5, 8), coat=r.uniform(10, 240, 3),
            legs=r.uniform(10, 150, 3), skin=np.array([200.0, 160.0, 130.0]) * r.uniform(0.35, 1.1), sway=r.uniform(0, 0.02),
            stripe=r.uniform(0, 35), period=r.uniform(3, 9),
        )

    def _person(self, p, o, x, t):
        h, foot = o["h"], o["foot"] + o["sway"] * o["h"] * np.sin(2 * o["gait"] * t)
        hip, neck, swing = foot - 0.48 * h, foot - 0.84 * h, 0.16 * h * np.sin(o["gait"] * t + o["phase"])
        for s in (-1, 1):
            _paint(p, _limb(x, hip, x + s * swing, foot - 0.03 * h, 0.05 * h), o["legs"])
        _paint(p, _limb(x, neck + 0.05 * h, x - 0.9 * swing, hip, 0.035 * h), o["coat"] * 0.75)
        stripes = lambda _, y: o["coat"] + o["stripe"] * np.sign(np.sin((y - foot) / (o["period"] * h / 110)))[..., None]
        _paint(p, _limb(x, neck + 0.05 * h, x, hip, 0.1 * h), stripes)
        _paint(p, _ellipse(x, foot - 0.92 * h, 0.06 * h, 0.08 * h), o["skin"])
        return x - 0.2 * h, foot - h, x + 0.2 * h, foot

    def _vehicle(self, p, o, x):
        h, foot, way = o["h"], o["foot"], np.sign(o["speed"])
        w = 2.1 * h
        _paint(p, _ellipse(x, foot, 0.5 * w, 0.08 * h), lambda below, _: below * 0.45)
        _paint(p, _box(x - w / 2, foot - 0.6 * h, x + w / 2, foot - 0.12 * h), o["coat"])
        _paint(p, _box(x - 0.3 * w, foot - h, x + 0.28 * w, foot - 0.55 * h), o["coat"] * 0.85)
        _paint(p, _box(x - 0.25 * w, foot - 0.92 * h, x + 0.23 * w, foot - 0.6 * h), np.array([60.0, 75.0, 90.0]))
        _paint(p, _box(x + way * 0.46 * w - 2, foot - 0.45 * h, x + way * 0.46 * w + 2, foot - 0.3 * h), np.array([250.0, 240.0, 180.0]))
        for s in (-0.3, 0.3):
            _paint(p, _ellipse(x + s * w, foot - 0.14 * h, 0.16 * h, 0.16 * h), np.array([25.0, 25.0, 28.0]))
        return x - w / 2, foot - h, x + w / 2, foot

    def frame(self, index):
        t = index / FPS
        p, boxes = self.background.copy(), []
        for o in sorted(self.things, key=lambda o: o["foot"]):
            margin = 1.2 * o["h"]
            x = (o["x"] + o["speed"] * t + margin) % (WIDTH + 2 * margin) - margin
            x0, y0, x1, y1 = self._person(p, o, x, t) if o["kind"] == 0 else self._vehicle(p, o, x)
            x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, WIDTH), min(y1, HEIGHT)
            if x1 - x0 > 4 and y1 - y0 > 4:
                boxes.append((o["kind"], x0, y0, x1, y1))
        for x, w, bottom, colour in self.occluders:
            _paint(p, _box(x, -10, x + w, bottom), colour)
        depth, seconds, phase, drift = self.light
        gain = 1.0 + depth * np.sin(2 * np.pi * t / seconds + phase) + drift * t
        noise = np.random.default_rng((self._seed, index)).standard_normal(p.shape, dtype=np.float32) * 4.0
        return np.clip(p * gain + noise, 0, 255).astype(np.uint8), np.array(boxes, np.float32).reshape(-1, 5)
