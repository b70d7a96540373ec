"""The pair: a reduction that makes the fused tensor of the layers, and a restoration that makes the layers of it.

Both begin as the Karhunen–Loève transform and learn to be better where the head looks.
"""
import torch
from torch import nn
from torch.nn import functional as F


def cells(shapes):
    """Rows and columns of each layer's cell at one position of the grid, the smallest layer's."""
    height, width = (min(s[n] for s in shapes) for n in (1, 2))
    if any(s[1] % height or s[2] % width for s in shapes):
        raise SystemExit(f"layers {shapes}: the sides of all must be multiples of the smallest's, {height}x{width}")
    return [(s[1] // height, s[2] // width) for s in shapes]


def sums(layers, shapes):
    """Sum, sum of products and number of the grid's vectors (docs/bitstream.md 5.1)."""
    x = torch.cat([unshuffle(l, c) for l, c in zip(layers, cells(shapes))], 1)
    x = x.permute(1, 0, 2, 3).flatten(1).double()
    return x.sum(1), x @ x.T, x.shape[1]


def unshuffle(layer, cell):
    b, c, h, w = layer.shape
    x = layer.view(b, c, h // cell[0], cell[0], w // cell[1], cell[1])
    return x.permute(0, 1, 3, 5, 2, 4).reshape(b, c * cell[0] * cell[1], h // cell[0], w // cell[1])


def gated(channels, width, out):
    """A small network over the grid: what is around a position decides with it."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 1), nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width), nn.SiLU(),
        nn.Conv2d(width, width, 1), nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width), nn.SiLU(),
        nn.Conv2d(width, out, 1),
    )


class Reduction(nn.Module):
    """Layers -> fused tensor [B,K,h,w]: a linear map of each position's cells, times a gate between 0 and 1."""

    def __init__(self, shapes, components, width):
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(s[0], components, c, stride=c, bias=n == 0) for n, (s, c) in enumerate(zip(shapes, cells(shapes))))
        self.gate = gated(components, width, components)
        nn.init.zeros_(self.gate[-1].weight)
        nn.init.constant_(self.gate[-1].bias, 4.0)
        self.register_buffer("unit", torch.ones(()))

    def forward(self, *layers):
        y = sum(m(l) for m, l in zip(self.maps, layers))
        return y * torch.sigmoid(self.gate(y / self.unit))


class Restoration(nn.Module):
    """Fused tensor -> layers: what a small network adds to it, then a linear map into each position's cells."""

    def __init__(self, shapes, components, width):
        super().__init__()
        self.mend = gated(components, width, components)
        nn.init.zeros_(self.mend[-1].weight)
        nn.init.zeros_(self.mend[-1].bias)
        self.maps = nn.ModuleList(nn.ConvTranspose2d(components, s[0], c, stride=c) for s, c in zip(shapes, cells(shapes)))
        self.register_buffer("unit", torch.ones(()))

    def forward(self, fused):
        fused = fused + self.unit * self.mend(fused / self.unit)
        return tuple(m(fused) for m in self.maps)


@torch.no_grad()
def start_as_klt(reduction, restoration, shapes, total, products, count):
    """Sets both to the Karhunen–Loève transform of the vectors that were summed up; returns the components' variances."""
    mean = total / count
    values, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))
    components = reduction.maps[0].weight.shape[0]
    basis = vectors.flip(1)[:, :components].T
    at = 0
    for s, c, a, b in zip(shapes, cells(shapes), reduction.maps, restoration.maps):
        n = s[0] * c[0] * c[1]
        part = basis[:, at : at + n].reshape(components, s[0], *c)
        a.weight.copy_(part)
        b.weight.copy_(part)
        part_mean = mean[at : at + n].view(s[0], -1)
        # A transposed convolution has one bias for a channel; what differs inside a cell is left to the components.
        b.bias.copy_(part_mean.mean(1))
        at += n
    offset = torch.cat([b.bias.double().repeat_interleave(c[0] * c[1]) for b, c in zip(restoration.maps, cells(shapes))])
    reduction.maps[0].bias.copy_(-(basis @ offset))
    variances = values.flip(0)[:components].clamp(min=0)
    reduction.unit.copy_(variances.mean().sqrt())
    restoration.unit.copy_(variances.mean().sqrt())
    return variances.float()


def z_score(x, mean, std, dims):
    """x with the mean and standard deviation given, over dims (docs/bitstream.md 8)."""
    own = x.mean(dims, keepdim=True)
    deviation = (x - own).square().mean(dims, keepdim=True).add(1e-12).sqrt()
    return (x - own) / deviation * std + mean


def moments(x, dims):
    mean = x.mean(dims, keepdim=True)
    return mean, (x - mean).square().mean(dims, keepdim=True).add(1e-12).sqrt()


class Quantiser(nn.Module):
    """Levels of the fused tensor and an estimate of their bits.

    Levels are those of the native codec (dead zone, each position from nothing or from the frame before); bits are those of a logistic
    distribution whose width follows what a decoder knows: magnitudes left and above, in the frame before, and of stronger components.
    """

    ROUNDING = 0.33

    def __init__(self, variances):
        super().__init__()
        self.width = nn.Parameter(0.5 * (variances + 1e-6).log())
        self.context = nn.Parameter(torch.full((3, len(variances)), 0.2))
        self.inter = nn.Parameter(torch.tensor(-0.5))

    def levels(self, u):
        hard = u.sign() * (u.abs() + self.ROUNDING).floor()
        return u + (hard - u).detach()

    def bits(self, u, q, before, step, inter):
        """Bits of each value: u in steps before and q after rounding, `before` the frame before in steps."""
        m = q.detach().abs()
        left, above = F.pad(m, (1, 0))[..., :-1], F.pad(m, (0, 0, 1, 0))[..., :-1, :]
        stronger = (m.cumsum(1) - m) / torch.arange(1, m.shape[1] + 1, device=m.device).view(1, -1, 1, 1)
        contexts = [(left + above) / 2, before.detach().abs(), stronger]
        log = self.width.view(1, -1, 1, 1) - step.log() + self.inter * inter
        for weight, c in zip(self.context, contexts):
            log = log + weight.view(1, -1, 1, 1) * ((c + 0.02).log() + 1.5)
        b = log.clamp(-5, 8).exp()
        noisy = u + (torch.rand_like(u) - 0.5 if self.training else q.detach() - u.detach())
        p = torch.sigmoid((0.5 - noisy.abs()) / b) - torch.sigmoid((-0.5 - noisy.abs()) / b)
        return -p.clamp(min=1e-6).log2()

    def forward(self, fused, step):
        """fused [B,2,K,h,w], step [B,1,1,1] -> both frames decoded, and the bits of each frame [B,2]."""
        decoded, bits, before = [], [], torch.zeros_like(fused[:, 0])
        for n in range(2):
            y = fused[:, n] / step
            intra, inter = self.levels(y), self.levels(y - before)
            choose = inter.detach().abs().sum(1, keepdim=True) < intra.detach().abs().sum(1, keepdim=True)
            q = torch.where(choose, inter, intra)
            u = torch.where(choose, y - before, y)
            cost = self.bits(u, q, before, step, choose.float())
            now = torch.where(choose, before, torch.zeros_like(before)) + q
            decoded.append(now * step)
            bits.append(cost.sum((1, 2, 3)))
            # What the first frame is as a reference for the second is left out of its gradient.
            before = now.detach()
        return torch.stack(decoded, 1), torch.stack(bits, 1)


class Chain(nn.Module):
    """Encoder and decoder, but for the entropy coder: layers of two frames -> layers, bits."""

    def __init__(self, reduction, restoration, quantiser):
        super().__init__()
        self.reduction, self.restoration, self.quantiser = reduction, restoration, quantiser

    def forward(self, layers, step):
        """Layers [2B,C,H,W], first all first frames; step [B]. Returns the layers restored and bits [B,2]."""
        half = layers[0].shape[0] // 2
        fused = self.reduction(*layers)
        pair = torch.stack([fused[:half], fused[half:]], 1)
        decoded, bits = self.quantiser(pair, step.view(-1, 1, 1, 1))
        decoded = torch.cat([decoded[:, 0], decoded[:, 1]])
        every = (1, 2, 3)
        decoded = z_score(decoded, *moments(fused.detach(), every), every)
        restored = self.restoration(decoded)
        return [z_score(r, *moments(l, every), every) for r, l in zip(restored, layers)], bits
