"""What the network should say: cells are assigned to objects by how well they already find them, then scored."""
import torch
from torch.nn import functional as F

from network import boxes

CANDIDATES = 10  # cells an object may have


def overlaps(a, b):
    """IoU of boxes that broadcast against each other, with the generalised IoU"""
    left, right = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (right - left).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inter + 1e-6
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1) + 1e-6
    iou = inter / union
    return iou, iou - (hull - union) / hull


@torch.no_grad()
def assign(out, found, cells, wanted):
    """out, found: output and its boxes; wanted [n, m, 7]: box, class, counts, real (rows are padded).

    Returns for every cell the object it answers for (or -1), how well it should score, and whether it is left alone because it finds
    an object that is hidden too much to be asked for."""
    box, kind, counts, real = wanted[..., :4], wanted[..., 4].long(), wanted[..., 5] > 0, wanted[..., 6] > 0
    iou, _ = overlaps(box[:, :, None], found[:, None])  # [n, m, cells]
    point = (cells[:, :2] + 0.5) * cells[:, 2:]
    inside = (point > box[:, :, None, :2]) & (point < box[:, :, None, 2:])
    inside = inside.all(-1) & (counts & real)[:, :, None]
    score = out[..., 4].sigmoid()[:, None] * out[..., 5:].sigmoid().transpose(1, 2).gather(1, kind[:, :, None].expand(-1, -1, out.shape[1]))
    fit = (score.sqrt() * iou.pow(4)).where(inside, score.new_zeros(()))
    best = fit.topk(CANDIDATES, -1)
    chosen = torch.zeros_like(fit).scatter_(-1, best.indices, (best.values > 1e-9).float()) > 0
    # A cell that several objects want goes to the one it fits best.
    owner = iou.where(chosen, iou.new_full((), -1.0)).max(1)
    mine = owner.values >= 0
    index = owner.indices.where(mine, torch.full_like(owner.indices, -1))
    chosen = chosen & (torch.arange(box.shape[1])[None, :, None] == index[:, None])
    fit = fit.where(chosen, fit.new_zeros(()))
    scale = (iou.where(chosen, iou.new_zeros(())).amax(-1, keepdim=True)) / (fit.amax(-1, keepdim=True) + 1e-9)
    target = (fit * scale).amax(1)
    ignored = ((iou > 0.5) & (~counts & real)[:, :, None]).any(1) & ~mine
    return index, target, ignored


def loss(out, cells, wanted):
    found = boxes(out, cells)
    index, target, ignored = assign(out, found, cells, wanted)
    mine = index >= 0
    total = target.sum().clamp(min=1.0)
    objectness = F.binary_cross_entropy_with_logits(out[..., 4], target, reduction="none")
    # Empty cells that are easily told apart weigh little.
    weight = torch.where(mine, 1.0, out[..., 4].detach().sigmoid().pow(1.5) * 0.75 + 0.02) * ~ignored
    objectness = (objectness * weight).sum() / total
    rows = torch.arange(out.shape[0])[:, None].expand_as(index)[mine]
    chosen = wanted[rows, index[mine]]
    kind = F.binary_cross_entropy_with_logits(out[..., 5:][mine], F.one_hot(chosen[:, 4].long(), 2).float(), reduction="none").sum(-1)
    _, generalised = overlaps(found[mine], chosen[:, :4])
    share = target[mine] + 0.05
    box = ((1 - generalised) * share).sum() / total
    kind = (kind * share).sum() / total
    return objectness + 2.5 * box + 0.5 * kind, (objectness.item(), box.item(), kind.item())
