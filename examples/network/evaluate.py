"""Detections from the output, and average precision against ground truth."""
import numpy as np
import torch

from network import boxes, cells

CELLS = cells()


def detections(out, least=0.02, overlap=0.6, most=100):
    """Output of one picture (logits) -> rows left, top, right, bottom, score, class; the lesser of two that overlap is dropped."""
    corners = boxes(out, CELLS).detach().numpy()
    scores = (out[:, 4:5].sigmoid() * out[:, 5:].sigmoid()).detach().numpy()
    kept = []
    for kind in range(scores.shape[1]):
        rows = np.flatnonzero(scores[:, kind] > least)
        rows = rows[np.argsort(-scores[rows, kind])][:400]
        while len(rows) and len(kept) < most * (kind + 1):
            first, rows = rows[0], rows[1:]
            kept.append([*corners[first], scores[first, kind], kind])
            rows = rows[iou(corners[first][None], corners[rows])[0] <= overlap]
    return np.array(kept, np.float32).reshape(-1, 6)


def iou(a, b):
    left, right = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    inter = np.maximum(right - left, 0).prod(-1)
    area = lambda x: (x[:, 2:4] - x[:, :2]).prod(-1)
    return inter / (area(a)[:, None] + area(b)[None] - inter + 1e-9)


def average_precision(found, wanted, threshold):
    """Area under the precision-recall curve. `found` and `wanted` hold one array a picture; objects that do not count, and what finds
    them, are left out."""
    marks, total = [], 0
    for f, w in zip(found, wanted):
        f = f[np.argsort(-f[:, 4])]
        counts = w[:, 5] > 0
        total += int(counts.sum())
        overlap, taken = iou(f, w), np.zeros(len(w), bool)
        for row, score in zip(overlap, f[:, 4]):
            free = np.where(taken | ~counts, -1.0, row)
            if len(free) and free.max() >= threshold:
                taken[free.argmax()] = True
                marks.append((score, 1))
            elif not (row[~counts] >= threshold).any():
                marks.append((score, 0))
    if not marks or not total:
        return 0.0
    marks = np.array(sorted(marks, key=lambda m: -m[0]))
    hits = np.cumsum(marks[:, 1])
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float(np.sum(np.diff(np.concatenate([[0], hits / total])) * precision))
