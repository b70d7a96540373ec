"""The comparison of the Z-score paper on real features: statistics mode x rate -> accuracy of the network's second half.

python3 benches/evaluation/statistics_table.py [--qp 26,38,32,29,35]     -> docs/results/statistics.md and .json
Every stream is written and read back by the fcm command; detector, tracker and metrics are those of the measuring tools.
"""
import argparse
import os

import common

MODES = ("none", "ecs", "simplified", "z-score")
METRICS = ("AP50", "AP75", "MOTA", "IDF1")
# The outermost first: the report is written after each.
DEFAULT_QP = "26,38,32,29,35"


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--qp", default=DEFAULT_QP)
    a.add_argument("--components", type=int, default=640)
    a = a.parse_args()
    common.prepare()
    import fcmlab

    test, _ = common.feature_files()
    network = fcmlab.Head(common.NETWORK)
    accuracy = lambda path: dict(
        zip(METRICS, fcmlab.evaluate(network(common.layers(path), common.SEQUENCE), common.SEQUENCE))
    )
    original = accuracy(test)
    print("uncompressed", original, flush=True)
    rows = []
    with common.workplace() as folder:
        transform, _ = common.calibrated(a.components, folder)
        for qp in map(int, a.qp.split(",")):
            for mode in MODES:
                stream, back = os.path.join(folder, "stream.fcm"), os.path.join(folder, "back.npz")
                common.fcm("encode", test, "-o", stream, "--transform", transform, "--qp", qp, "--statistics", mode)
                common.fcm("decode", stream, "-o", back, "--transform", transform)
                row = dict(qp=qp, mode=mode, kbit_s=common.kbit_per_second(stream), **accuracy(back))
                os.remove(back)
                rows.append(row)
                print(mode, qp, {k: round(row[k], 4) for k in ("kbit_s", *METRICS)}, flush=True)
            report(a.components, original, rows)


def report(components, original, rows):
    import fcmlab

    rows = sorted(rows, key=lambda r: (MODES.index(r["mode"]), r["qp"]))
    curve = lambda mode, metric: [(r["kbit_s"], r[metric]) for r in rows if r["mode"] == mode]

    def bd_rate(mode, metric):
        try:
            return fcmlab.bd_rate(curve(mode, metric), curve("none", metric))
        except ValueError:  # fewer than two points that rise
            return float("nan")

    bd = {m: {k: bd_rate(m, k) for k in METRICS} for m in MODES[1:]}
    p = common.provenance()
    command = "make results-statistics"
    text = common.head("Statistics modes against rate", command, p)
    text += (
        f"Settings: K = {components} components, a random access point every 32 frames, statistics with each of them, "
        "everything else as by default. Rate: the whole stream. Accuracy: persons, the sequence's ground truth, one simple IoU tracker.\n\n"
        "| statistics | qp | kbit/s | AP50 | AP75 | MOTA | IDF1 |\n|---|---|---|---|---|---|---|\n"
        "| uncompressed | | | " + " | ".join(f"{original[k]:.3f}" for k in METRICS) + " |\n"
    )
    for r in rows:
        text += f"| {r['mode']} | {r['qp']} | {r['kbit_s']:.1f} | " + " | ".join(f"{r[k]:.3f}" for k in METRICS) + " |\n"
    text += "\nBD-rate against `none` (rate for the same accuracy; negative = saved; over the accuracies that both reach):\n\n"
    text += "| statistics | " + " | ".join(METRICS) + " |\n|---|---|---|---|---|\n"
    for m, v in bd.items():
        text += f"| {m} | " + " | ".join("no overlap" if v[k] != v[k] else f"{v[k]:+.1f} %" for k in METRICS) + " |\n"
    text += (
        "\nOne clip of 96 frames with a static camera: differences below .005 AP are noise. "
        "The BD-rate uses only points where accuracy rises with rate.\n"
    )
    bd = {m: {k: None if x != x else x for k, x in v.items()} for m, v in bd.items()}
    common.write_report("statistics", text, dict(command=command, **p, uncompressed=original, rows=rows, bd_rate_against_none=bd))


if __name__ == "__main__":
    main()
