"""What packet loss costs a tracker, with what GStreamer has against it: feedback (PLI), error correction, retransmission.

python3 benches/evaluation/loss_table.py [--qp 32] [--seeds 8] [--scene]     -> docs/results/loss.md and .json (with --scene: loss-scene)
Every row is runs of examples/loss: features through fcmenc, RTP packets, a seeded channel, fcmdec, the network's second half and boxtrack,
against ground truth. Without the measuring data, or with --scene, a rendered scene and the project's own network are used.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tomllib

import common

MTU, KEY_INT = 1200, 32
LOSSES = (0.01, 0.05, 0.2)
SEEDS = 8
# Name: frames from a loss to the random access unit that answers it, how often a packet is sent at most.
MEANS = {
    "nothing": (None, 1),
    "PLI": (3, 1),
    "FEC 100 %": (None, 2),
    "FEC 100 %, PLI": (3, 2),
    "retransmission, PLI": (3, 3),
}


def run(command):
    done = subprocess.run(command, cwd=common.ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def scene(folder):
    """A rendered scene, what it was calibrated on, and the project's network."""
    tool = lambda name: os.path.join(common.TARGET, "release", name)
    scenes, calibration = os.path.join(folder, "scenes"), os.path.join(folder, "calibration")
    run([tool("fcm-scenes"), "--out", scenes, "--seed", "1", "--frames", "96"])
    run([tool("fcm-scenes"), "--out", calibration, "--seed", "500", "--scenes", "12", "--frames", "100", "--step", "10"])
    features = lambda sequence, out: run([tool("fcm-eval"), "features", "--network", "eval/networks/street.toml", "-o", out, sequence]) and out
    learnt = [features(os.path.join(calibration, s), os.path.join(folder, s + ".npz")) for s in sorted(os.listdir(calibration))]
    transform = os.path.join(folder, "street.fcmt")
    common.fcm("calibrate", "-o", transform, *learnt)
    sequence = os.path.join(scenes, "scene-00001")
    return dict(
        features=features(sequence, os.path.join(folder, "test.npz")),
        transform=transform,
        model="examples/data/back.onnx",
        truth=sequence,
        detect="input-width=512 input-height=288 iou-threshold=0.45 classes=0",
        track="high-score=0.45 low-score=0.3",
        data="rendered scene 1, 96 frames at 25 frames/s, the project's own network; calibration on 12 other scenes",
    )


def real(folder):
    """TUD-Stadtmitte and YOLOX-nano, the transform that make results fits to its task, the threshold of its description."""
    common.prepare()
    test, _ = common.feature_files()
    transform = os.path.join(folder, "fitted.fcmt")
    network = os.path.join(common.ROOT, "eval/networks/yolox-nano-pan.toml")
    learnt = run([os.path.join(common.TARGET, "release/fcm-eval"), "calibrate", "--json", "--network", network, "-o", transform, *common.calibration_sources()])
    with open(network, "rb") as f:
        high = tomllib.load(f)["tracker"]["high"]
    return dict(
        features=test,
        transform=transform,
        model=os.path.join(common.DATA, "models/yolox_nano_608x1088.pan.back.onnx"),
        truth=os.path.join(common.DATA, "mot", common.SEQUENCE),
        detect="input-width=1088 input-height=608 scaling=letterbox classes=0",
        track=f"high-score={high}",
        data=common.provenance()["data"] + f", fitted to the task, and patchworks (K = {json.loads(learnt)['components']})",
    )


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--qp", type=int, default=32)
    a.add_argument("--seeds", type=int, default=SEEDS)
    a.add_argument("--scene", action="store_true")
    a = a.parse_args()
    packages = ["fcm-cli", "fcm-eval", "fcm-scenes"]
    run(["cargo", "build", "--release", "--locked", *(word for p in packages for word in ("-p", p))])
    run(["cargo", "build", "--release", "--locked", "--example", "loss"])
    a.scene |= not os.path.isdir(common.DATA)
    with common.workplace() as folder:
        s = scene(folder) if a.scene else real(folder)
        source = os.path.join(folder, "source.fcm")
        common.fcm("encode", s["features"], "-o", source, "--transform", s["transform"], "--qp", 8)

        def measure(loss, round_trip, copies, seeds, decode="conceal=repeat"):
            command = [os.path.join(common.TARGET, "release/examples/loss"), "--source", source, "--frames", str(common.FRAMES)]
            for name in ("transform", "model", "truth", "detect", "track"):
                command += ["--" + name, s[name]]
            command += ["--encode", f"qp={a.qp} key-int-max={KEY_INT}", "--decode", decode, "--mtu", str(MTU)]
            command += ["--loss", str(loss), "--copies", str(copies), "--seeds", str(seeds)]
            if round_trip is not None:
                command += ["--round-trip", str(round_trip), "--realtime"]
            return [json.loads(line) for line in run(command).splitlines()]

        base = measure(0, None, 1, 1)[0]
        print("loss-free", {k: base[k] for k in ("mota", "idf1", "packets", "bytes")}, flush=True)
        rows = []
        for loss in LOSSES:
            for means, (round_trip, copies) in MEANS.items():
                for decode in ("conceal=repeat", "discard-corrupted-frames=true conceal=repeat"):
                    if "discard" in decode and copies > 1:
                        continue
                    runs = measure(loss, round_trip, copies, a.seeds, decode)
                    mean = lambda key: statistics.mean(r[key] for r in runs)
                    row = dict(loss=loss, means=means, exact_only="discard" in decode, worst=min(r["mota"] for r in runs), runs=runs)
                    row.update({key: mean(key) for key in ("mota", "idf1", "frames", "inexact", "concealed", "partial", "bytes", "lost", "packets")})
                    rows.append(row)
                    print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if k != "runs"}, flush=True)
    report(a, s["data"], base, rows)


def report(a, data, base, rows):
    p = dict(common.provenance(), data=data)
    options = (["--scene"] if a.scene else []) + ([f"--seeds {a.seeds}"] if a.seeds != SEEDS else [])
    command = "make results-loss" + (f" LOSS='{' '.join(options)}'" if options else "")
    rate = base["bytes"] * 8 * common.FPS / common.FRAMES / 1000
    lines = [
        common.head("Packet loss against tracking", command, p).rstrip("\n"),
        "",
        f"Elements all the way ([examples/loss](../../examples/loss/main.rs)): `fcmenc qp={a.qp} key-int-max={KEY_INT}` ({rate:.0f} kbit/s) `! rtpfcmpay mtu={MTU}`, a channel that loses",
        "packets independently, `rtpfcmdepay ! fcmdec conceal=repeat`, second half of the network, `tensordetect ! boxtrack`; in frames without tracks nothing is found.",
        f"Loss-free: MOTA {base['mota']:.3f}, IDF1 {base['idf1']:.3f}, {base['packets']} packets in {common.FRAMES} frames. Mean of {a.seeds} patterns. *PLI*: a request reaches the encoder 3 frames later, and what",
        "answers it can be lost like anything. *FEC 100 %*: every packet is there twice, at twice the rate. *Retransmission*: lost packets are sent again up to two times before the",
        "jitter buffer lets go. *Exact only*: `fcmdec discard-corrupted-frames=true`, so that the last exact frame stands in for up to 8 others.",
        "",
        "| loss | means | frames sent on | of them inexact | parts | kbit/s | MOTA | change | worst | IDF1 | MOTA, exact only | change |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in (r for r in rows if not r["exact_only"]):
        other = next((r for r in rows if r["exact_only"] and (r["loss"], r["means"]) == (row["loss"], row["means"])), None)
        cells = [f"{100 * row['loss']:g} %", row["means"], f"{row['frames']:.1f}", f"{row['inexact']:.1f}", f"{row['partial']:.1f}"]
        cells += [f"{row['bytes'] * 8 * common.FPS / common.FRAMES / 1000:.0f}", f"{row['mota']:.3f}", f"{row['mota'] - base['mota']:+.3f}", f"{row['worst']:.3f}", f"{row['idf1']:.3f}"]
        cells += [f"{other['mota']:.3f}", f"{other['mota'] - base['mota']:+.3f}"] if other else ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    common.write_report("loss-scene" if a.scene else "loss", "\n".join(lines) + "\n", dict(p, command=command, base=base, rows=rows))


if __name__ == "__main__":
    main()
