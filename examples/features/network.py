"""A small detector of the project's own in plain numpy, with its training: five strided convolutions and a feature
pyramid whose three maps (strides 8, 16, 32) are the features. It is trained by hand-written back-propagation to find
the objects of scenes.py, so its features are what a detector's are: sparse, correlated and changing with the scene.
"""
import numpy as np

# name: (input channels, output channels, kernel, stride)
LAYERS = {
    "c1": (3, 12, 3, 2), "c2": (12, 24, 3, 2), "c3": (24, 32, 3, 2), "c4": (32, 48, 3, 2), "c5": (48, 64, 3, 2),
    "p5": (64, 48, 1, 1), "p4": (48 + 48, 32, 3, 1), "p3": (32 + 32, 16, 3, 1),
    "h3": (16, 6, 1, 1), "h4": (32, 6, 1, 1), "h5": (48, 6, 1, 1),
}
STRIDES = (8, 16, 32)
LARGEST = (40.0, 80.0, 1e9)  # longest side of an object, in pixels, that a pyramid level answers for


def _columns(x, k, s):
    n, c, h, w = x.shape
    if k == 1:
        return x.reshape(n, c, h * w)
    xp = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    ho, wo = h // s, w // s
    out = np.empty((n, c, k * k, ho, wo), np.float32)
    for i in range(k):
        for j in range(k):
            out[:, :, i * k + j] = xp[:, :, i : i + s * ho : s, j : j + s * wo : s]
    return out.reshape(n, c * k * k, ho * wo)


def _columns_back(d, shape, k, s):
    n, c, h, w = shape
    if k == 1:
        return d.reshape(shape)
    ho, wo = h // s, w // s
    d = d.reshape(n, c, k * k, ho, wo)
    out = np.zeros((n, c, h + 2, w + 2), np.float32)
    for i in range(k):
        for j in range(k):
            out[:, :, i : i + s * ho : s, j : j + s * wo : s] += d[:, :, i * k + j]
    return out[:, :, 1:-1, 1:-1]


def _up(x):
    return x.repeat(2, 2).repeat(2, 3)


def _down(d):
    n, c, h, w = d.shape
    return d.reshape(n, c, h // 2, 2, w // 2, 2).sum((3, 5))


class Network:
    def __init__(self, seed):
        r = np.random.default_rng(seed)
        self.w = {}
        for name, (i, o, k, _) in LAYERS.items():
            self.w[name] = (r.standard_normal((o, i * k * k)) * np.sqrt(2.0 / (i * k * k))).astype(np.float32)
            self.w[name + ".b"] = np.zeros(o, np.float32)
        for h in ("h3", "h4", "h5"):
            self.w[h] *= 0.1
            self.w[h + ".b"][:2] = -4.0
        self.tape = {}

    def _conv(self, name, x, activate=True):
        _, o, k, s = LAYERS[name]
        cols = _columns(x, k, s)
        z = np.matmul(self.w[name], cols) + self.w[name + ".b"][:, None]
        z = z.reshape(len(x), o, x.shape[2] // s, x.shape[3] // s)
        sig = 1.0 / (1.0 + np.exp(-z)) if activate else None
        self.tape[name] = (x.shape, cols, z, sig)
        return z * sig if activate else z

    def _conv_back(self, name, d, grads):
        shape, cols, z, sig = self.tape[name]
        if sig is not None:
            d = d * (sig * (1.0 + z * (1.0 - sig)))
        d = d.reshape(d.shape[0], d.shape[1], -1)
        grads[name] = np.einsum("nop,nip->oi", d, cols, optimize=True)
        grads[name + ".b"] = d.sum((0, 2))
        return _columns_back(np.matmul(self.w[name].T, d), shape, *LAYERS[name][2:])

    def pyramid(self, pictures):
        """RGB pictures, uint8 [n, H, W, 3] -> [p3, p4, p5], float32 [n, C, H / stride, W / stride]"""
        x = (pictures.transpose(0, 3, 1, 2).astype(np.float32) - 120.0) / 60.0
        c3 = self._conv("c3", self._conv("c2", self._conv("c1", x)))
        c4 = self._conv("c4", c3)
        p5 = self._conv("p5", self._conv("c5", c4))
        p4 = self._conv("p4", np.concatenate([c4, _up(p5)], 1))
        p3 = self._conv("p3", np.concatenate([c3, _up(p4)], 1))
        return [p3, p4, p5]

    def heads(self, pyramid):
        """Per level [n, 6, H, W]: person and vehicle logits, logarithms of the distances left, top, right, bottom in strides."""
        return [self._conv(h, p, False) for h, p in zip(("h3", "h4", "h5"), pyramid)]

    def gradients(self, dheads):
        g = {}
        d3, d4, d5 = (self._conv_back(h, d, g) for h, d in zip(("h3", "h4", "h5"), dheads))
        d = self._conv_back("p3", d3, g)
        dc3 = d[:, :32]
        d = self._conv_back("p4", d4 + _down(d[:, 32:]), g)
        dc4 = d[:, :48]
        dc4 = dc4 + self._conv_back("c5", self._conv_back("p5", d5 + _down(d[:, 48:]), g), g)
        dc3 = dc3 + self._conv_back("c4", dc4, g)
        self._conv_back("c1", self._conv_back("c2", self._conv_back("c3", dc3, g), g), g)
        return g


def targets(boxes, height, width):
    """What the heads should say for one picture: per level [6, H, W], and where a box must be right [H, W]."""
    out = []
    for level, s in enumerate(STRIDES):
        h, w = height // s, width // s
        y, x = (np.mgrid[0:h, 0:w].astype(np.float32) + 0.5) * s
        t, m = np.zeros((6, h, w), np.float32), np.zeros((h, w), bool)
        least = LARGEST[level - 1] if level else 0.0
        for kind, x0, y0, x1, y1 in boxes:
            if not least < max(x1 - x0, y1 - y0) <= LARGEST[level]:
                continue
            cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, max(0.3 * (x1 - x0), 0.6 * s), max(0.3 * (y1 - y0), 0.6 * s)
            inside = (np.abs(x - cx) < rx) & (np.abs(y - cy) < ry) & (x > x0) & (x < x1) & (y > y0) & (y < y1)
            t[:2, inside] = 0.0
            t[int(kind), inside] = 1.0
            for k, v in enumerate((x - x0, y - y0, x1 - x, y1 - y)):
                t[2 + k, inside] = np.log(np.maximum(v[inside] / s, 0.1))
            m |= inside
        out.append((t, m))
    return out


def loss(heads, wanted):
    """Focal cross entropy of the classes and absolute error of the boxes, with the gradient for every head."""
    positives = max(1, sum(int(m.sum()) for w in wanted for _, m in w))
    total, grads = 0.0, []
    for level, z in enumerate(heads):
        t = np.stack([w[level][0] for w in wanted])
        m = np.stack([w[level][1] for w in wanted])[:, None]
        p = np.clip(1.0 / (1.0 + np.exp(-z[:, :2])), 1e-5, 1 - 1e-5)
        y = t[:, :2]
        wrong = np.abs(p - y)
        weight = wrong**2 * np.where(y > 0, 0.75, 0.35)
        total += float((weight * -np.log(np.where(y > 0, p, 1 - p))).sum())
        d = np.zeros_like(z)
        # The weight is held constant in the gradient: simpler, and it trains as well.
        d[:, :2] = weight * (p - y) * 3.0
        e = (z[:, 2:] - t[:, 2:]) * m
        total += float(np.abs(e).sum()) * 0.25
        d[:, 2:] = np.sign(e) * 0.25
        grads.append(d / positives)
    return total / positives, grads


def train(network, batches, rate=2e-3):
    """Adam with a cosine schedule over `batches`, an iterable with a length of (pictures, list of boxes)."""
    first = {k: np.zeros_like(v) for k, v in network.w.items()}
    second = {k: np.zeros_like(v) for k, v in network.w.items()}
    for step, (pictures, boxes) in enumerate(batches):
        value, dheads = loss(network.heads(network.pyramid(pictures)), [targets(b, *pictures.shape[1:3]) for b in boxes])
        g = network.gradients(dheads)
        norm = np.sqrt(sum(float((v**2).sum()) for v in g.values()))
        lr = rate * min(1.0, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * step / len(batches)))
        for k, v in g.items():
            v = v * min(1.0, 5.0 / (norm + 1e-9))
            first[k] += 0.1 * (v - first[k])
            second[k] += 0.005 * (v * v - second[k])
            m, s = first[k] / (1 - 0.9 ** (step + 1)), second[k] / (1 - 0.995 ** (step + 1))
            network.w[k] -= (lr * m / (np.sqrt(s) + 1e-8)).astype(np.float32)
        yield step, value
