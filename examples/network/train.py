"""Trains the detector on rendered scenes and writes front.onnx and back.onnx.

python train.py --data FOLDER

FOLDER holds train/ and val/ as fcm-scenes writes them (README.md gives the commands). Everything is seeded; a run on another machine or
with another version of PyTorch differs in rounding, which training amplifies.
"""
import argparse
import copy
import os
import tempfile
import time

import numpy as np
import torch
from torch.nn import functional as F

from data import read
from evaluate import average_precision, detections
from export import export
from loss import loss
from network import CLASSES, Network, cells


# Training sees windows of this size: most of the buildings' upper floors, where nobody is, cost no time. The network takes any size.
WINDOW = (224, 448)


def window(picture, boxes, r):
    """A part of a picture with its boxes, changed at random: place and scale, mirrored, colours, light, noise."""
    boxes = boxes.copy()
    height, width = picture.shape[:2]
    if r.random() < 0.5:
        picture = picture[:, ::-1]
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    scale = r.choice([1.0, r.uniform(0.8, 1.0), r.uniform(1.0, 1.4)])  # > 1: things get larger
    h, w = (int(round(side / scale)) for side in WINDOW)
    # May begin before the picture when it is larger than that; what is missing is grey.
    y, x = (int(r.integers(min(0, room), max(0, room) + 1)) for room in (height - h, width - w))
    part = picture[max(y, 0) : y + h, max(x, 0) : x + w]
    out = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1))).float()[None]
    above, before = max(-y, 0), max(-x, 0)
    out = F.pad(out, (before, w - before - out.shape[3], above, h - above - out.shape[2]), value=114.0)
    if (h, w) != WINDOW:
        out = F.interpolate(out, WINDOW, mode="bilinear", antialias=bool(scale < 1))
    whole = (boxes[:, 2:4] - boxes[:, :2]).prod(1)
    for axis, (start, side, size) in enumerate(((x, w, WINDOW[1]), (y, h, WINDOW[0]))):
        boxes[:, [axis, axis + 2]] = (boxes[:, [axis, axis + 2]].clip(start, start + side) - start) * (size / side)
    # What the window cuts off counts as hidden.
    left = (boxes[:, 2:4] - boxes[:, :2]).prod(1) / (whole * scale * scale)
    boxes[left < 0.35, 5] = 0
    boxes = boxes[left > 0.01]
    if r.random() < 0.3:
        out = out[:, [int(k) for k in r.permutation(3)]]
    gain = r.uniform(0.75, 1.25) * r.uniform(0.93, 1.07, 3)
    out = out * torch.tensor(gain, dtype=torch.float32)[None, :, None, None] + float(r.uniform(-12, 12))
    if r.random() < 0.25:
        out = out + float(r.uniform(1, 7)) * torch.from_numpy(r.standard_normal(out.shape, np.float32))
    return out.clamp(0, 255), boxes


def batch(pictures, boxes, indices, r):
    got = [window(pictures[i], boxes[i], r) for i in indices]
    most = max(1, max(len(b) for _, b in got))
    wanted = torch.zeros(len(got), most, 7)
    for row, (_, b) in zip(wanted, got):
        row[: len(b), :6] = torch.from_numpy(b)
        row[: len(b), 6] = 1
    return torch.cat([x for x, _ in got]).contiguous(memory_format=torch.channels_last), wanted


class Average:
    """Moving average of the weights: what is kept in the end."""

    def __init__(self, network):
        self.network, self.steps = copy.deepcopy(network).eval(), 0

    @torch.no_grad()
    def update(self, network):
        self.steps += 1
        keep = min(0.997, (1 + self.steps) / (12 + self.steps))
        for a, b in zip(self.network.state_dict().values(), network.state_dict().values()):
            if a.is_floating_point():
                a.lerp_(b, 1 - keep)
            else:
                a.copy_(b)


def validate(network, folder, limit=None):
    pictures, boxes = read(os.path.join(folder, "val"))
    chosen = range(0, len(pictures), 1 if limit is None else max(1, len(pictures) // limit))
    found = [detections(network(torch.from_numpy(pictures[i].transpose(2, 0, 1).copy()).float()[None])[0]) for i in chosen]
    return {
        (name, threshold): average_precision([f[f[:, 5] == k] for f in found], [boxes[i][boxes[i][:, 4] == k] for i in chosen], threshold)
        for k, name in enumerate(CLASSES)
        for threshold in (0.5, 0.75)
    }


def show(values):
    return ", ".join(f"{name} AP{int(100 * t)} {v:.3f}" for (name, t), v in values.items())


def join_gradients(network, processes):
    """The mean of all processes' gradients."""
    gradients = [p.grad for p in network.parameters()]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    for g, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        g.copy_(part.view_as(g) / processes)


def run(rank, a):
    """One of the processes that train: each computes its share of every batch on one thread, which is faster than threads that share
    one computation."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{a.meeting}", rank=rank, world_size=a.processes)
    torch.manual_seed(3)
    shuffled, r = np.random.default_rng(3), np.random.default_rng([3, rank])
    pictures, boxes = read(os.path.join(a.data, "train"))
    network = Network().to(memory_format=torch.channels_last)
    if a.start:
        network.load_state_dict(torch.load(a.start))
    first = rank == 0

    def say(text):
        if first:
            print(text, flush=True)

    say(f"{sum(p.numel() for p in network.parameters())} parameters, {len(pictures)} pictures")
    places = cells(*WINDOW)
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}], lr=a.rate)
    warm = max(1, min(40, a.steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: (k + 1) / warm if k < warm else 0.02 + 0.49 * (1 + np.cos(np.pi * (k - warm) / max(1, a.steps - warm)))
    )
    average, recent, start, order = Average(network), [], time.time(), []
    for step in range(1, a.steps + 1):
        if len(order) < a.batch:
            order = list(shuffled.permutation(len(pictures)))
        chosen = [order.pop() for _ in range(a.batch)]
        x, wanted = batch(pictures, boxes, chosen[rank :: a.processes], r)
        value, parts = loss(network(x), places, wanted)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        join_gradients(network, a.processes)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        if not first:
            continue
        average.update(network)
        recent = recent[-49:] + [(value.item(), *parts)]
        if step % 25 == 0:
            total, objectness, box, kind = np.mean(recent, 0)
            say(f"step {step}: loss {total:.3f} (objectness {objectness:.3f}, box {box:.3f}, class {kind:.3f}), {time.time() - start:.0f} s")
        if step % 300 == 0:
            torch.save(average.network.state_dict(), a.weights)
            say(f"  {show(validate(average.network, a.data, 40))}")
    if first:
        torch.save(average.network.state_dict(), a.weights)
        say(f"trained in {time.time() - start:.0f} s")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--data", required=True)
    a.add_argument("--steps", type=int, default=800)
    a.add_argument("--batch", type=int, default=16)
    a.add_argument("--rate", type=float, default=4e-3, help="highest learning rate")
    a.add_argument("--processes", type=int, default=2)
    a.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data"), help="folder of the ONNX files")
    a.add_argument("--weights", help="file of the trained weights (default: weights.pt in the data folder)")
    a.add_argument("--start", help="weights to go on from")
    a = a.parse_args()
    a.weights = a.weights or os.path.join(a.data, "weights.pt")
    for part in ("train", "val"):
        read(os.path.join(a.data, part))
    with tempfile.TemporaryDirectory() as folder:
        a.meeting = os.path.join(folder, "meeting")
        torch.multiprocessing.spawn(run, (a,), a.processes)
    torch.set_num_threads(1)
    network = Network()
    network.load_state_dict(torch.load(a.weights))
    with torch.no_grad():
        print(f"validation: {show(validate(network.eval(), a.data, 300))}", flush=True)
    export(network, a.out)


if __name__ == "__main__":
    main()
