"""Rate of the native inner codec against the ideal code lengths of its prototype, at exactly equal quantiser steps.

python3 benches/evaluation/rate_check.py [--steps 1.2,1.8,2.6,3.6,5.0]     -> docs/results/rate-check.md and .json
Same features, same calibration data, same number of components, a random access point every 32 frames in both. The prototype counts
ideal code lengths of its adaptive models and the bits of the statistics; ours is the size of the whole .fcm file, headers included.
"""
import argparse
import os

import common

COMPONENTS, PERIOD = 640, 32
# The quantiser step of qp 36 is 128 << 6 units of 1/1024 of the reference scale (docs/bitstream.md): 8 reference scales.
QP, SCALES_PER_STEP = 36, 8.0


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    a.add_argument("--steps", default="1.2,1.8,2.6,3.6,5.0")
    a = a.parse_args()
    steps = [float(s) for s in a.steps.split(",")]
    common.prepare()
    import fcmlab
    import numpy as np
    import prototype

    test, _ = common.feature_files()
    tensors = [x.astype(np.float32) for x in common.layers(test)]
    mean, basis = fcmlab.calibrated(common.NETWORK, COMPONENTS)
    merged = fcmlab.merge(tensors)
    fused = np.ascontiguousarray(((merged.transpose(0, 2, 3, 1) - mean) @ basis).transpose(0, 3, 1, 2))
    side = (len(tensors) + 1) * 64 * common.FPS / 1000 / PERIOD
    del merged
    rows = []
    with common.workplace() as folder:
        transform, _ = common.calibrated(COMPONENTS, folder)
        for step in steps:
            _, bits = prototype.encode(fused, step, 0.33, PERIOD)
            theirs = float(bits.sum()) * common.FPS / 1000 / common.FRAMES + side
            stream = os.path.join(folder, "stream.fcm")
            common.fcm(
                "encode", test, "-o", stream, "--transform", transform, "--qp", QP, "--key-int-max", PERIOD,
                "--reference-scale", repr(step / SCALES_PER_STEP), "--skip-threshold", 0, "--rd-strength", 0,
            )
            ours = common.kbit_per_second(stream)
            rows.append(dict(step=step, ours_kbit_s=ours, prototype_kbit_s=theirs, ratio=ours / theirs))
            print(rows[-1], flush=True)

    p = common.provenance()
    command = "make results-rate"
    text = common.head("Rate against the prototype", command, p)
    text += (
        f"Settings: K = {COMPONENTS}, a random access point every {PERIOD} frames, z-score statistics, quantiser steps fixed with "
        "`--reference-scale`. Prototype: ideal code lengths of adaptive models plus 64 bits a layer and for the fused tensor at every "
        "refresh. Ours: the size of the `.fcm` file, headers and checks included.\n\n"
        "| step | ours, kbit/s | prototype, kbit/s | ratio |\n|---|---|---|---|\n"
    )
    for r in rows:
        text += f"| {r['step']} | {r['ours_kbit_s']:.1f} | {r['prototype_kbit_s']:.1f} | {r['ratio']:.3f} |\n"
    common.write_report("rate-check", text, dict(command=command, **p, rows=rows))


if __name__ == "__main__":
    main()
