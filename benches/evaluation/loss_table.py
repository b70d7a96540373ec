"""What packet loss costs the network's second half, with what GStreamer has against it: feedback (PLI), retransmission, error correction, and
with and without repeating the last frame.

python3 benches/evaluation/loss_table.py [--qp 32] [--seeds 40]     -> docs/results/loss.md and .json
The stream is coded, decoded and its frames are looked at by the detector once; which frames a receiver has of it under loss follows from the packets
lost (docs/rtp.md: a lost packet costs its access unit, and that all up to the next random access unit), as tests/rtp_network.rs checks with the
elements. A frame that a receiver has is bit for bit the one decoded without loss.
"""
import argparse
import os
import random

import common

MTU, HEADERS, KEY_INT = 1200, 13, 32
CONCEALED = 8  # fcmdec conceal-frames
LOSSES = (0.01, 0.05, 0.2)
# Name: whether a loss asks for a random access unit, how often a packet is sent at most.
MEANS = {"nothing": (False, 1), "PLI": (True, 1), "FEC 100 %": (False, 2), "FEC 100 %, PLI": (True, 2), "retransmission, PLI": (True, 3)}


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--qp", type=int, default=32)
    a.add_argument("--seeds", type=int, default=40)
    a.add_argument("--components", type=int, default=640)
    a.add_argument("--round-trip", type=int, default=3, help="frames from a loss to the random access unit that answers it")
    a = a.parse_args()
    common.prepare()
    import fcmlab

    test, _ = common.feature_files()
    with common.workplace() as folder:
        transform, _ = common.calibrated(a.components, folder)
        stream, back = os.path.join(folder, "stream.fcm"), os.path.join(folder, "back.npz")
        common.fcm("encode", test, "-o", stream, "--transform", transform, "--qp", a.qp, "--key-int-max", KEY_INT)
        common.fcm("decode", stream, "-o", back, "--transform", transform)
        sizes = [frame["bytes"] for frame in common.fcm("info", stream)["frames"]]
        rate = common.kbit_per_second(stream)
        found = fcmlab.Head(common.NETWORK)(common.layers(back), common.SEQUENCE)
    packets = [-(-size // (MTU - HEADERS)) for size in sizes]
    whole = max(packets)  # of a random access unit that was asked for, at most
    nothing = found[0][:0]

    def accuracy(received, repeat):
        seen, last, age = [], nothing, 0
        for t, has in enumerate(received):
            last, age = (found[t], 0) if has else (last, age + 1)
            seen.append(last if age == 0 or repeat and age <= CONCEALED else nothing)
        _, _, mota, idf1 = fcmlab.evaluate(seen, common.SEQUENCE)
        return mota, idf1

    mean = lambda values: sum(values) / len(values)
    base = dict(zip(("MOTA", "IDF1"), accuracy([True] * len(packets), False)))
    print("loss-free", base, flush=True)
    rows = []
    for loss in LOSSES:
        for name, (asks, times) in MEANS.items():
            patterns = [receive(packets, whole, loss**times, a.round_trip if asks else None, seed) for seed in range(a.seeds)]
            for repeat in (False, True):
                results = [accuracy(received, repeat) for received in patterns]
                row = dict(
                    loss=loss,
                    means=name,
                    repeat=repeat,
                    frames=mean([mean(received) for received in patterns]),
                    MOTA=mean([mota for mota, _ in results]),
                    IDF1=mean([idf1 for _, idf1 in results]),
                    worst=min(mota for mota, _ in results),
                )
                rows.append(row)
                print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    report(a, rate, sizes, packets, base, rows)


def receive(packets, whole, loss, round_trip, seed):
    """Which frames a receiver has. With feedback, a loss at frame t brings a random access unit at frame t + round_trip, and if that is lost, another."""
    r = random.Random(seed)
    arrives = lambda count: all(r.random() >= loss for _ in range(count))
    received, usable, answer = [], False, None
    for t, count in enumerate(packets):
        asked_for = answer is not None and t >= answer
        random_access = t % KEY_INT == 0 or asked_for
        there = arrives(max(count, whole) if asked_for else count)
        if asked_for:
            answer = None
        usable = there and (usable or random_access)
        if not usable and round_trip is not None and answer is None:
            answer = t + round_trip
        received.append(usable)
    return received


def report(a, rate, sizes, packets, base, rows):
    p = common.provenance()
    command = f"benches/evaluation/loss_table.py --qp {a.qp} --seeds {a.seeds} --components {a.components} --round-trip {a.round_trip}"
    lines = [
        common.head("Packet loss against tracking", command, p).rstrip("\n"),
        "",
        f"One stream at qp {a.qp} ({rate:.0f} kbit/s, random access every {KEY_INT} frames), MTU {MTU}: {sum(packets) / len(packets):.2f} packets a frame, the largest access",
        f"unit {max(sizes)} bytes in {max(packets)}. Loss-free: MOTA {base['MOTA']:.3f}, IDF1 {base['IDF1']:.3f}. Independent loss of packets, mean of {a.seeds} patterns of 96 frames. *PLI*: a loss",
        f"brings a random access unit {a.round_trip} frames later, which can be lost like any; its frame is taken to be as good as the one that it replaces. *FEC 100 %*: every packet",
        "is there twice, at twice the rate. *Retransmission*: lost packets are sent again up to two times before the jitter buffer lets go. *Repeat*: the last frame's features stand in",
        f"for up to {CONCEALED} that are missing (`fcmdec conceal=repeat`); else the frame has no detections.",
        "",
        "| loss | means | frames there | MOTA | change | worst | MOTA, repeat | change | worst | IDF1 none / repeat |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for none, repeat in zip(rows[::2], rows[1::2]):
        cells = [f"{100 * none['loss']:g} %", none["means"], f"{100 * none['frames']:.1f} %"]
        for row in (none, repeat):
            cells += [f"{row['MOTA']:.3f}", f"{row['MOTA'] - base['MOTA']:+.3f}", f"{row['worst']:.3f}"]
        lines.append("| " + " | ".join([*cells, f"{none['IDF1']:.3f} / {repeat['IDF1']:.3f}"]) + " |")
    common.write_report("loss", "\n".join(lines) + "\n", dict(p, rate=rate, sizes=sizes, base=base, rows=rows))


if __name__ == "__main__":
    main()
