"""What the head makes of restored layers, against what it makes of the originals: no labels are needed."""
import torch

# Below this score a position says nothing about where a box is.
FOUND = 0.05
# What a score counts at least, as a share of the wanted one, however near it is: trackers and NMS compare scores of what is found.
SCORES = 0.5
# Classes of which no position of a batch has such a score, wanted or given, say nothing; they are most of a detector's 80, and the loss's time.
ABSENT = 0.02


def overlap(a, b):
    """Generalised intersection over union of boxes [...,4]."""
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    outer = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1).clamp(min=1e-6)
    area = lambda x: (x[..., 2:] - x[..., :2]).clamp(min=0).prod(-1)
    union = (area(a) + area(b) - inner).clamp(min=1e-6)
    return inner / union - (outer - union) / outer


def task(student, teacher, box_weight):
    """Loss of scores and of boxes [B], and the teacher's findings [B] to divide it by; `box_weight`: what a box's place counts beside its score."""
    (scores, boxes), (wanted, places) = student, teacher
    wanted = wanted.detach()
    best = wanted.amax(-1)
    present = torch.maximum(scores.detach().amax((0, 1)), wanted.amax((0, 1))) > ABSENT
    scores, wanted = scores[..., present].clamp(1e-5, 1 - 1e-5), wanted[..., present]
    entropy = -(wanted * scores.log() + (1 - wanted) * (1 - scores).log())
    # Focal: what agrees already, the empty background above all, does not drown the rest.
    weight = torch.maximum((scores - wanted).abs().detach(), 0.01 + SCORES * wanted)
    score_loss = (4 * weight * entropy).sum((1, 2))
    weight = torch.where(best > FOUND, best, torch.zeros_like(best))
    box_loss = (weight * (1 - overlap(boxes, places.detach()))).sum(1)
    return score_loss + box_weight * box_loss, weight.sum(1)


def distortion(restored, layers):
    """Mean squared error over each layer's variance, mean over layers [B]."""
    error = 0.0
    for r, l in zip(restored, layers):
        error = error + (r - l).square().mean((1, 2, 3)) / l.var((1, 2, 3), correction=0).clamp(min=1e-9)
    return error / len(layers)
