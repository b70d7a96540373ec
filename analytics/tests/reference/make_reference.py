#!/usr/bin/env python3
"""Makes the sequences and the expected values that tests/reference.rs compares with.

    python3 -m venv V && V/bin/pip install motmetrics==1.4.0 trackeval==1.3.0
    V/bin/python make_reference.py

It writes NAME.gt.txt and NAME.res.txt (MOTChallenge lines of synthetic tracks) and expected.json beside itself. CLEAR MOT and
identity are py-motmetrics', HOTA is TrackEval's, BD-rate is over SciPy's PchipInterpolator; average precision
is computed here, by another formula than the crate's. Coordinates are multiples of 1/16, which binary32 holds exactly.
"""
import json
import pathlib

import numpy as np

if not hasattr(np, "asfarray"):  # motmetrics 1.4 asks for what numpy 2 has dropped
    np.asfarray = lambda a, dtype=float: np.asarray(a, dtype=float)
import motmetrics as mm
from scipy.interpolate import PchipInterpolator
from trackeval.datasets._base_dataset import _BaseDataset
from trackeval.metrics import HOTA

HERE = pathlib.Path(__file__).resolve().parent
FRAMES = 48
THRESHOLDS = (0.3, 0.5, 0.75)

# What is done to the truth to make results of it.
SCENES = {
    "plain": dict(objects=5),
    "jitter": dict(objects=6, jitter=0.08),
    "misses": dict(objects=6, jitter=0.04, miss=0.25),
    "false": dict(objects=4, jitter=0.04, ghosts=2.5),
    "swaps": dict(objects=6, jitter=0.04, swap=0.12),
    "gaps": dict(objects=6, jitter=0.04, gaps=True, new_after_gap=True),
    "reused": dict(objects=7, jitter=0.04, gaps=True, reuse=True),
    "empty": dict(objects=4, jitter=0.04, empty=True, miss=0.1, ghosts=1.0),
    "crowded": dict(objects=16, jitter=0.1, miss=0.15, ghosts=2.0, swap=0.05, size=260, short_lives=True),
    "all": dict(objects=9, jitter=0.12, miss=0.15, ghosts=1.5, swap=0.06, gaps=True, empty=True, reuse=True, short_lives=True),
    "nothing-found": dict(objects=3, miss=1.0),
}


def snap(boxes):
    return np.round(np.asarray(boxes, float) * 16) / 16


def scene(seed, objects, jitter=0.0, miss=0.0, ghosts=0.0, swap=0.0, gaps=False, new_after_gap=False, reuse=False,
          empty=False, size=640, short_lives=False):
    """Two dictionaries, frame -> list of (id, box, score): truth and results."""
    rng = np.random.default_rng(seed)
    truth = {f: [] for f in range(1, FRAMES + 1)}
    results = {f: [] for f in range(1, FRAMES + 1)}
    emptied = set(rng.choice(np.arange(1, FRAMES + 1), 8, replace=False)) if empty else set()
    unseen = set(rng.choice(np.arange(1, FRAMES + 1), 8, replace=False)) if empty else set()
    free, used = 1, []
    names = {}
    for o in range(1, objects + 1):
        if reuse and used and rng.random() < 0.6:
            names[o] = used[rng.integers(len(used))]  # the number of another object, for frames where that one is not named
        else:
            names[o], free = free, free + 1
            used.append(names[o])
    for o in range(1, objects + 1):
        w, h = rng.uniform(24, 50), rng.uniform(60, 120)
        at, v = rng.uniform(0, size, 2), rng.normal(0, 3, 2)
        first, last = 1, FRAMES
        if short_lives:
            first = int(rng.integers(1, FRAMES - 8))
            last = int(rng.integers(first + 4, FRAMES + 1))
        hidden = range(0)
        if gaps:
            start = int(rng.integers(5, FRAMES - 12))
            hidden = range(start, start + int(rng.integers(3, 10)))
        for f in range(first, last + 1):
            box = snap([*at, w, h])
            at += v
            v += rng.normal(0, 0.4, 2)
            if f not in emptied:
                truth[f].append((o, box))
            if f in hidden or f in unseen or rng.random() < miss:
                continue
            if new_after_gap and hidden and f == hidden.stop:
                names[o], free = free, free + 1
            if swap and rng.random() < swap:
                other = int(rng.integers(1, objects + 1))
                names[o], names[other] = names[other], names[o]
            found = box + rng.normal(0, jitter, 4) * [w, h, w, h] if jitter else box
            found[2:] = np.maximum(found[2:], 2)
            if all(i != names[o] for i, _, _ in results[f]):
                results[f].append((names[o], snap(found), round(float(rng.uniform(0.3, 1)), 4)))
    for f in range(1, FRAMES + 1):
        for _ in range(rng.poisson(ghosts)):
            name = int(rng.integers(free, free + 12))
            if all(i != name for i, _, _ in results[f]):
                box = snap([*rng.uniform(0, size, 2), rng.uniform(24, 50), rng.uniform(60, 120)])
                results[f].append((name, box, round(float(rng.uniform(0.1, 0.8)), 4)))
        order = rng.permutation(len(results[f]))
        results[f] = [results[f][k] for k in order]
    return truth, results


def write(name, truth, results):
    def text(box):
        return ",".join(f"{v:g}" if v == int(v) else f"{v:.4f}".rstrip("0") for v in box)

    with open(HERE / f"{name}.gt.txt", "w") as out:
        for f, objects in truth.items():
            out.writelines(f"{f},{i},{text(b)},1,1,1\n" for i, b in objects)
    with open(HERE / f"{name}.res.txt", "w") as out:
        for f, objects in results.items():
            out.writelines(f"{f},{i},{text(b)},{s},-1,-1,-1\n" for i, b, s in objects)


def boxes(objects):
    return np.array([o[1] for o in objects], float).reshape(-1, 4)


def clear_and_identity(sequences, threshold):
    names = ["num_frames", "num_objects", "num_predictions", "num_unique_objects", "num_matches", "num_switches",
             "num_false_positives", "num_misses", "num_fragmentations", "mostly_tracked", "partially_tracked",
             "mostly_lost", "mota", "motp", "precision", "recall", "idtp", "idf1", "idp", "idr"]
    accumulators = []
    for truth, results in sequences:
        accumulator = mm.MOTAccumulator(auto_id=True)
        for f in truth:
            distances = mm.distances.iou_matrix(boxes(truth[f]), boxes(results[f]), max_iou=1 - threshold)
            accumulator.update([o[0] for o in truth[f]], [o[0] for o in results[f]], distances)
        accumulators.append(accumulator)
    host = mm.metrics.create()
    if len(accumulators) == 1:
        row = host.compute(accumulators[0], metrics=names).iloc[0]
    else:
        row = host.compute_many(accumulators, metrics=names, generate_overall=True).loc["OVERALL"]
    return {n: None if np.isnan(row[n]) else float(row[n]) for n in names}


def hota_data(truth, results):
    def compact(frames):
        ids = sorted({o[0] for objects in frames.values() for o in objects})
        return {i: n for n, i in enumerate(ids)}

    gt, res = compact(truth), compact(results)
    similarity = []
    for f in truth:
        a, b = boxes(truth[f]), boxes(results[f])
        both = len(a) and len(b)
        similarity.append(_BaseDataset._calculate_box_ious(a, b, box_format="xywh") if both else np.zeros((len(a), len(b))))
    return dict(
        num_gt_dets=sum(map(len, truth.values())), num_tracker_dets=sum(map(len, results.values())),
        num_gt_ids=len(gt), num_tracker_ids=len(res), similarity_scores=similarity,
        gt_ids=[np.array([gt[o[0]] for o in objects], int) for objects in truth.values()],
        tracker_ids=[np.array([res[o[0]] for o in objects], int) for objects in results.values()])


def hota(sequences):
    metric = HOTA()
    all_results = {str(n): metric.eval_sequence(hota_data(*s)) for n, s in enumerate(sequences)}
    found = all_results["0"] if len(all_results) == 1 else metric.combine_sequences(all_results)
    return {n: [float(v) for v in found[n]] for n in ("HOTA", "DetA", "AssA", "LocA", "HOTA_TP", "HOTA_FN", "HOTA_FP")}


def average_precision(truth, results, threshold):
    """1/N of the sum over k of the best precision among all cuts of the list that have found at least k."""
    total = sum(map(len, truth.values()))
    listed = sorted(((s, f, box) for f, objects in results.items() for _, box, s in objects), key=lambda t: -t[0])
    left = {f: [tuple(b) for _, b in objects] for f, objects in truth.items()}
    hits, cuts = 0, []
    for n, (_, f, (x, y, w, h)) in enumerate(listed, 1):
        best, chosen = threshold, None
        for candidate in left[f]:
            X, Y, W, H = candidate
            common = max(0, min(x + w, X + W) - max(x, X)) * max(0, min(y + h, Y + H) - max(y, Y))
            overlap = common / (w * h + W * H - common)
            if overlap >= best:
                best, chosen = overlap, candidate
        if chosen is not None:
            left[f].remove(chosen)
            hits += 1
        cuts.append((hits, hits / n))
    return sum(max((p for h, p in cuts if h >= k), default=0) for k in range(1, total + 1)) / total


def bd_rate(a, b):
    def curve(points):
        x, y = [], []
        for rate, quality in sorted(points):
            if not x or quality > x[-1]:
                x.append(quality)
                y.append(np.log10(rate))
        return (PchipInterpolator(x, y), x[0], x[-1]) if len(x) > 1 else None

    a, b = curve(a), curve(b)
    if a is None or b is None or min(a[2], b[2]) <= max(a[1], b[1]):
        return None
    at = np.linspace(max(a[1], b[1]), min(a[2], b[2]), 400)
    return float((10 ** np.mean(a[0](at) - b[0](at)) - 1) * 100)


def curves(seed):
    """Two curves of 2 to 7 points, not always monotone, not always overlapping."""
    rng = np.random.default_rng(seed)

    def one():
        n = int(rng.integers(2, 8))
        rate = np.sort(rng.uniform(5, 900, n))
        quality = np.log10(rate) / 4 + rng.normal(0, 0.04, n) + (0.5 if rng.random() < 0.1 else 0)
        return [[float(r), float(q)] for r, q in rng.permutation(np.stack([rate, quality], 1))]

    return one(), one()


def main():
    sequences = {name: scene(1000 + n, **what) for n, (name, what) in enumerate(SCENES.items())}
    expected = {"sequences": {}, "bd_rate": []}
    for name, (truth, results) in sequences.items():
        write(name, truth, results)
        expected["sequences"][name] = {
            "at": [{"iou": t, "ap": average_precision(truth, results, t), **clear_and_identity([(truth, results)], t)}
                   for t in THRESHOLDS],
            "hota": hota([(truth, results)])}
    some = [sequences[n] for n in ("plain", "misses", "swaps", "crowded", "all")]
    expected["together"] = {
        "names": ["plain", "misses", "swaps", "crowded", "all"],
        "at": [{"iou": t, **clear_and_identity(some, t)} for t in THRESHOLDS], "hota": hota(some)}
    for seed in range(40):
        a, b = curves(seed)
        expected["bd_rate"].append({"a": a, "b": b, "percent": bd_rate(a, b)})
    expected["sequences"] = [{"name": name, **found} for name, found in expected["sequences"].items()]
    with open(HERE / "expected.json", "w") as out:  # a line for every sequence and every pair of curves
        lists = (f'"{key}": [\n' + ",\n".join(map(json.dumps, expected[key])) + "\n]" for key in ("sequences", "bd_rate"))
        out.write("{" + ",\n".join([*lists, f'"together": {json.dumps(expected["together"])}']) + "}\n")


if __name__ == "__main__":
    main()
