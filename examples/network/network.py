"""The project's own detector: anchor-free, small, for persons and vehicles in pictures of fcm-scenes.

A backbone of depthwise-separable blocks, a feature pyramid that goes down and up again (strides 8, 16 and 32), and a decoupled head a
level. `Front` gives the pyramid, `Back` the detections from it, so that the two halves can run in different places.
"""
import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEIGHT = 512, 288
STRIDES = (8, 16, 32)
CHANNELS = (32, 48, 64)  # of p3, p4, p5
CLASSES = ("person", "vehicle")
# The network takes RGB from 0 to 255 and normalises it itself.
MEAN, DEVIATION = 110.0, 60.0


class Conv(nn.Sequential):
    """Convolution, normalisation and, unless told otherwise, SiLU."""

    def __init__(self, i, o, k=1, s=1, groups=1, activate=True):
        layers = [nn.Conv2d(i, o, k, s, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o, eps=1e-3, momentum=0.03)]
        super().__init__(*layers, *([nn.SiLU(inplace=True)] if activate else []))


class Centred(nn.Module):
    """What is left of the picture's normalisation in the ONNX file. The mean cannot go into the first convolution: the zeros that this
    pads with stand for it."""

    def forward(self, x):
        return x - MEAN


class Down(nn.Sequential):
    """Half the size: depthwise, then pointwise."""

    def __init__(self, i, o):
        super().__init__(Conv(i, i, 3, 2, groups=i, activate=False), Conv(i, o))


class Block(nn.Module):
    """Pointwise, depthwise, pointwise, added to what came in."""

    def __init__(self, c, k=5):
        super().__init__()
        self.body = nn.Sequential(Conv(c, c), Conv(c, c, k, groups=c, activate=False), Conv(c, c))

    def forward(self, x):
        return x + self.body(x)


class Pool(nn.Module):
    """Context: maxima over two growing neighbourhoods beside the values themselves."""

    def __init__(self, i, o):
        super().__init__()
        self.before, self.after = Conv(i, o), Conv(3 * o, o)

    def forward(self, x):
        x = self.before(x)
        near = F.max_pool2d(x, 5, 1, 2)
        return self.after(torch.cat([x, near, F.max_pool2d(near, 5, 1, 2)], 1))


class Front(nn.Module):
    """Picture [n, 3, 288, 512], RGB 0 to 255 -> p3 [n, 32, 36, 64], p4 [n, 48, 18, 32], p5 [n, 64, 9, 16]"""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 16, 3, 2), Down(16, 32), Block(32, 3))
        self.c3 = nn.Sequential(Down(32, 64), Block(64), Block(64))
        self.c4 = nn.Sequential(Down(64, 96), Block(96), Block(96))
        self.c5 = nn.Sequential(Down(96, 128), Block(128), Pool(128, 64))
        self.t4 = nn.Sequential(Conv(96 + 64, 64), Block(64))
        self.p3 = nn.Sequential(Conv(64 + 64, 32), Block(32))
        self.down4, self.p4 = Down(32, 32), nn.Sequential(Conv(32 + 64, 48), Block(48))
        self.down5, self.p5 = Down(48, 48), nn.Sequential(Conv(48 + 64, 64), Block(64))

    def forward(self, x):
        c3 = self.c3(self.stem(x))
        c4 = self.c4(c3)
        c5 = self.c5(c4)
        t4 = self.t4(torch.cat([c4, F.interpolate(c5, scale_factor=2)], 1))
        p3 = self.p3(torch.cat([c3, F.interpolate(t4, scale_factor=2)], 1))
        p4 = self.p4(torch.cat([self.down4(p3), t4], 1))
        return p3, p4, self.p5(torch.cat([self.down5(p4), c5], 1))


class Head(nn.Module):
    """One level: [n, c, h, w] -> [n, 7, h, w], boxes, objectness and classes."""

    def __init__(self, c, wide=64):
        super().__init__()

        def tower():
            return nn.Sequential(Conv(c, c, 3, groups=c, activate=False), Conv(c, wide), Conv(wide, wide, 3, groups=wide, activate=False), Conv(wide, wide))

        self.boxes, self.kinds = tower(), tower()
        self.box, self.object, self.kind = nn.Conv2d(wide, 4, 1), nn.Conv2d(wide, 1, 1), nn.Conv2d(wide, len(CLASSES), 1)
        for layer in (self.box, self.object, self.kind):
            nn.init.normal_(layer.weight, 0, 0.01)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.object.bias, -4.6)
        with torch.no_grad():
            self.box.bias.copy_(torch.tensor([0.5, 0.5, 0.7, 1.2]))

    def forward(self, x, probabilities):
        b, k = self.boxes(x), self.kinds(x)
        scores = torch.cat([self.object(b), self.kind(k)], 1)
        return torch.cat([self.box(b), scores.sigmoid() if probabilities else scores], 1)


class Back(nn.Module):
    """p3, p4, p5 -> [n, 3024, 7]: for every cell x, y offsets from it, logarithms of width and height (all in strides),
    objectness and the classes. Probabilities with `probabilities`, else logits."""

    def __init__(self, probabilities=False):
        super().__init__()
        self.heads = nn.ModuleList(Head(c) for c in CHANNELS)
        self.probabilities = probabilities

    def forward(self, p3, p4, p5):
        # Exported for one picture at a time: a constant there keeps computations of shapes out of the ONNX file.
        pictures = 1 if self.probabilities else len(p3)
        out = [h(p, self.probabilities).reshape(pictures, 7, -1) for h, p in zip(self.heads, (p3, p4, p5))]
        return torch.cat(out, 2).transpose(1, 2)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.front, self.back = Front(), Back()

    def forward(self, x):
        return self.back(*self.front((x - MEAN) / DEVIATION))


def cells(height=HEIGHT, width=WIDTH):
    """x, y of every cell of the output, and its stride"""
    out = []
    for s in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // s), torch.arange(width // s), indexing="ij")
        out.append(torch.stack([x.flatten(), y.flatten(), torch.full((x.numel(),), s)], 1))
    return torch.cat(out).float()


def boxes(out, cells):
    """Output -> left, top, right, bottom in pixels"""
    middle = (out[..., :2] + cells[:, :2]) * cells[:, 2:]
    half = out[..., 2:4].clamp(-6, 6).exp() * cells[:, 2:] / 2
    return torch.cat([middle - half, middle + half], -1)


def folded(network):
    """Front and back with every batch normalisation inside the convolution before it, the front with that of the picture."""
    import copy

    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network = copy.deepcopy(network).eval()
    for sequence in [m for m in network.modules() if isinstance(m, Conv)]:
        sequence[0] = fuse_conv_bn_eval(sequence[0], sequence[1])
        sequence[1] = nn.Identity()
    stem = network.front.stem
    with torch.no_grad():
        stem[0][0].weight /= DEVIATION
    network.front.stem = nn.Sequential(Centred(), *stem)
    network.back.probabilities = True
    return network.front, network.back
