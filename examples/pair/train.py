"""Trains a reduction and a restoration network for the layers of a split network and writes them as reduction.onnx and restoration.onnx.

python train.py --network NETWORK.toml --models FOLDER --out FOLDER SOURCE [SOURCE ...]

A SOURCE is a folder of pictures or a video, with ":n" every n-th picture of it; nothing in them has to be labelled, for the network's
own head on the original layers says what is wanted. README.md tells the whole recipe. Everything is seeded; GPUs add in an order of their
own, so that two runs agree only nearly.
"""
import argparse
import copy
import ctypes
import json
import math
import os
import signal
import time
from collections import deque

import torch

from data import Scenes, read
from export import export, sort
from loss import distortion, task
from network import SplitNetwork
from pair import Chain, Quantiser, Reduction, Restoration, start_as_klt, sums

# Quantiser parameters that are trained for; the step is s/8 · 2^(qp/6), s the root mean variance of the layers (docs/bitstream.md 6).
QP = (22.0, 42.0)
# What a predicted frame's bits count beside those of a random access frame: most frames are predicted.
SHARES = (0.15, 0.85)
# Quantiser parameters that are measured on what is held out.
HELD_QP = (24, 28, 32, 36, 40)
# Pairs that are remembered where not all of a step are new.
REMEMBERED = 1500
# What an interrupted training goes on from.
CHECKPOINT = "training.pt"
# Parameters of mallopt(3), as malloc.h numbers them.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
# Weight of the layers' own error beside what the head makes of them, so that the restored layers stay layers.
FAITHFUL = 0.03


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("sources", nargs="+", metavar="SOURCE")
    p.add_argument("--network", required=True, help="description of the split network, as fcm-eval takes it")
    p.add_argument("--models", default=".", help="folder of its ONNX files")
    p.add_argument("--out", required=True, help="folder for the pair and log.json")
    p.add_argument("--validate", action="append", default=[], metavar="SOURCE", help="measured now and then, never learnt from")
    p.add_argument("--components", type=int, default=256)
    p.add_argument("--width", type=int, default=128, help="channels of the two small networks")
    p.add_argument("--picture", type=size, metavar="HxW", help="train on pictures of this size; the pair fits all [the network's]")
    p.add_argument("--klt-pictures", type=int, default=400, help="pictures to begin with the Karhunen–Loève transform of")
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--minutes", type=float, default=1e9, help="ends training early, the learning rate falls with the time then")
    p.add_argument("--batch", type=int, default=8, help="pairs of pictures in a step")
    p.add_argument("--fresh", type=int, help="how many of these are new, the rest as seen before: for processors, which the front half keeps busy [batch]")
    p.add_argument("--rate", type=float, default=2.0, help="what 1000 bits count at qp 32, in findings lost")
    p.add_argument("--boxes", type=float, default=4.0, help="what the place of a box counts beside its score: more for fine localisation at high rates [4]")
    p.add_argument("--learning-rate", type=float, default=1e-3)
    p.add_argument("--resume", action="store_true", help="go on from what an interrupted training left in --out")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = p.parse_args()
    args.fresh = args.batch if args.fresh is None else args.fresh
    if not 1 <= args.fresh <= args.batch:
        p.error(f"--fresh is {args.fresh}, legal are 1 to {args.batch}, the pairs in a step")
    if args.resume and not os.path.exists(os.path.join(args.out, CHECKPOINT)):
        p.error(f"--resume: there is no {CHECKPOINT} in {args.out}")
    return args


def size(text):
    height, _, width = text.partition("x")
    return int(height), int(width)


def source(text):
    path, _, stride = text.rpartition(":")
    return read(path, int(stride)) if path and stride.isdigit() else read(text, 1)


def keep_memory():
    """Lets the process keep what tensors free (glibc's mallopt): pages taken anew for every large one are a fifth of a step's time on processors."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1)):
        mallopt(parameter, value)


class Memory:
    """Layers of the pairs seen last, in half precision, as the codec gets them."""

    def __init__(self, random):
        self.pairs, self.random = deque(maxlen=REMEMBERED), random

    def fill(self, layers, count):
        """`layers` [2n,C,H,W], and those of so many pairs more that it is `count` pairs; remembers the new ones."""
        new = list(zip(*(l.unflatten(0, (2, -1)).half().unbind(1) for l in layers)))
        self.pairs.extend(new)
        chosen = torch.randint(len(self.pairs), (count - len(new),), generator=self.random).tolist()
        drawn = new + [self.pairs[n] for n in chosen]
        return [torch.stack(values, 1).flatten(0, 1).float() for values in zip(*drawn)]


class Stop:
    """Asked for by the first SIGINT or SIGTERM: the step that runs is finished, and what was learnt is written."""

    def __init__(self):
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.ask)

    def ask(self, number, frame):
        self.asked = True
        signal.signal(number, signal.SIG_DFL)


class Checkpoint:
    """What training goes on from: the state of its `parts`, steps and seconds so far, and the log. Which pictures come next is drawn anew."""

    def __init__(self, folder, parts):
        self.path, self.parts = os.path.join(folder, CHECKPOINT), parts

    def save(self, steps, seconds, log):
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        states = {name: part.state_dict() for name, part in self.parts.items()}
        # Whole or not at all: a machine may go down while it is written.
        torch.save({**states, "steps": steps, "seconds": seconds, "log": log}, self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def load(self):
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return state["steps"], state["seconds"], state["log"]


class Training:
    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        torch.manual_seed(args.seed)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        self.network = SplitNetwork(args.network, args.models, args.picture).to(self.device)
        self.shapes = [shape for _, shape in self.network.layers]
        random = torch.Generator().manual_seed(args.seed)
        make = lambda names: Scenes([source(s) for s in names], self.network.size, self.network.pad, self.device, random)
        self.scenes = make(args.sources)
        self.memory = Memory(random)
        self.held = make(args.validate) if args.validate else None
        reduction = Reduction(self.shapes, args.components, args.width)
        restoration = Restoration(self.shapes, args.components, args.width)
        self.chain = Chain(reduction, restoration, Quantiser(self.start(reduction, restoration))).to(self.device)
        self.log = []

    @torch.no_grad()
    def start(self, reduction, restoration):
        total, products, count = 0.0, 0.0, 0
        for _ in range(-(-self.args.klt_pictures // (2 * self.args.batch))):
            layers = self.network.features(self.scenes.batch(self.args.batch).flatten(0, 1))
            t, p, n = sums(layers, self.shapes)
            total, products, count = total + t, products + p, count + n
        return start_as_klt(reduction, restoration, self.shapes, total.cpu(), products.cpu(), count)

    def features(self, pairs, count=0):
        """Layers of pairs [B,2,3,H,W] and of so many remembered ones that it is `count`: all first pictures, then all second ones; and what
        the head finds in them."""
        pictures = pairs.transpose(0, 1).flatten(0, 1)
        with torch.no_grad():
            layers = self.network.features(pictures)
            if count > len(pairs):
                layers = self.memory.fill(layers, count)
            return layers, self.network.head(layers)

    def losses(self, chain, layers, found, qp):
        """Task loss, kilobits and layers' error of a batch at qp [B], each over the findings or the frames in it."""
        scale = torch.stack([l.var((1, 2, 3), correction=0) for l in layers]).mean(0).sqrt()
        half = len(scale) // 2
        restored, bits = chain(layers, scale[:half] / 8 * 2 ** (qp / 6))
        lost, findings = task(self.network.head(restored), found, self.args.boxes)
        kilobits = (bits * bits.new_tensor(SHARES)).sum(1) / 1000
        return lost[:half] + lost[half:], kilobits, findings[:half] + findings[half:], distortion(restored, layers)

    def step(self, qp):
        layers, found = self.features(self.scenes.batch(self.args.fresh), self.args.batch)
        lost, kilobits, findings, error = self.losses(self.chain, layers, found, qp)
        # Per finding, so that crowded pictures may take more bits than empty ones.
        findings = findings.mean() + 1.0
        price = self.args.rate * 2 ** ((qp - 32) / 6 * 2.0)
        loss = (lost.mean() + (price * kilobits).mean()) / findings + FAITHFUL * error.mean()
        return loss, (lost.mean() / findings).item(), kilobits.mean().item(), error.mean().item()

    def run(self):
        args, chain = self.args, self.chain
        stop = Stop()
        linear = [p for m in (*chain.reduction.maps, *chain.restoration.maps) for p in m.parameters()]
        small = [*chain.reduction.gate.parameters(), *chain.restoration.mend.parameters()]
        groups = [(linear, 0.1), (small, 1.0), (list(chain.quantiser.parameters()), 10.0)]
        rates = [args.learning_rate * share for _, share in groups]
        optimiser = torch.optim.Adam([{"params": p, "lr": r} for (p, _), r in zip(groups, rates)], betas=(0.9, 0.99))
        average = copy.deepcopy(chain).requires_grad_(False)
        before, n = 0.0, 0
        checkpoint = Checkpoint(args.out, {"chain": chain, "average": average, "optimiser": optimiser})
        if args.resume:
            n, before, self.log = checkpoint.load()
            print(f"goes on after step {n}, {before:.0f} s", flush=True)
        else:
            self.validate(chain, 0)
        begun = time.monotonic() - before
        progress = lambda: max(n / args.steps, (time.monotonic() - begun) / (60 * args.minutes))

        def write():
            self.validate(average, n)
            self.save(average)
            checkpoint.save(n, time.monotonic() - begun, self.log)

        while (done := progress()) < 1 and not stop.asked:
            # The estimate of bits has to be right before anything follows it.
            warm = min(1.0, n / 200)
            factor = warm * (0.5 + 0.5 * math.cos(math.pi * done)) + 0.002
            for group, rate in zip(optimiser.param_groups, rates):
                group["lr"] = rate * factor
            optimiser.param_groups[2]["lr"] = rates[2] * (0.1 + 0.9 * (1 - done))
            qp = QP[0] + (QP[1] - QP[0]) * torch.rand(args.batch, device=self.device)
            loss, lost, kilobits, error = self.step(qp)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(linear + small, 5.0)
            if torch.isfinite(norm):
                optimiser.step()
            n += 1
            keep = min(0.998, n / (n + 50))
            with torch.no_grad():
                for a, p in zip(average.parameters(), chain.parameters()):
                    a.lerp_(p, 1 - keep)
            if n % 100 == 0:
                print(f"step {n}, {time.monotonic() - begun:.0f} s: loss {loss.item():.4f}, lost {lost:.3f}, {kilobits:.2f} kbit, error {error:.3f}", flush=True)
            if n % 1000 == 0:
                write()
        write()

    @torch.no_grad()
    def validate(self, chain, n):
        """Loss and bits at a few quantisers, on what is never learnt from."""
        if self.held is None:
            return
        chain.eval()
        pairs = [self.held.plain(s, at) for s, held in enumerate(self.held.sources) for at in self.spread(len(held))]
        totals = {qp: torch.zeros(4) for qp in HELD_QP}
        for pair in pairs:
            layers, found = self.features(pair.unsqueeze(0))
            for qp in HELD_QP:
                values = self.losses(chain, layers, found, torch.full((1,), float(qp), device=self.device))
                totals[qp] += torch.stack([v.mean() for v in values]).cpu()
        for qp, (lost, kilobits, findings, error) in totals.items():
            values = {"lost": lost / max(findings, 1e-9), "kilobits": kilobits / len(pairs), "error": error / len(pairs)}
            row = {"step": n, "qp": qp, **{name: round(float(value), 4) for name, value in values.items()}}
            self.log.append(row)
            print("held out:", json.dumps(row), flush=True)
        chain.train()

    @staticmethod
    def spread(count, wanted=6):
        return range(0, count, max(1, count // wanted))

    @torch.no_grad()
    def save(self, chain):
        reduction, restoration = copy.deepcopy(chain.reduction), copy.deepcopy(chain.restoration)
        layers, _ = self.features(self.scenes.batch(2 * self.args.batch))
        sort(reduction, restoration, reduction(*layers).transpose(0, 1).flatten(1).var(1))
        os.makedirs(self.args.out, exist_ok=True)
        export(reduction, restoration, [l[:1] for l in layers], [name for name, _ in self.network.layers], self.args.out)
        with open(os.path.join(self.args.out, "log.json"), "w") as file:
            json.dump({"arguments": {k: v for k, v in vars(self.args).items() if k not in ("out", "models")}, "held out": self.log}, file, indent=1)


if __name__ == "__main__":
    keep_memory()
    Training(arguments()).run()
