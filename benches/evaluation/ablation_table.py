"""What every tool of the codec is worth: the rate that it costs to leave it out, or to take another, at equal accuracy.

python3 benches/evaluation/ablation_table.py [--only SEQUENCES] [--jobs N]     -> docs/results/ablation.md and .json
Chains of fcm-eval that differ from fcm-z-score in one setting each, on rendered scenes and, with the measuring data, on real sequences.
"""
import argparse
import json
import os
import subprocess
import sys

import common

DEFAULT = "fcm-z-score"
# What is changed: chain, and the difference of its qp at about the same rate.
CHAINS = {
    "no prediction": ("fcm-intra", 4),
    "no motion compensation": ("fcm-still", 0),
    "no intra prediction": ("fcm-alone", 0),
    "not error resilient: models go on from frame to frame": ("fcm-chained", 0),
    "no slices": ("fcm-unsliced", 0),
    "no skipping": ("fcm-skip-0", 1),
    "with relevance": ("fcm-relevance", -1),
    "transform fitted to the task": ("fcm-task", 1),
    "fitted to the task, layers restored in full": ("fcm-restored-1", 1),
    "fitted to the task, no intra prediction": ("fcm-task-alone", 1),
    "fitted to the task, with relevance": ("fcm-task-relevance", 0),
    "no restoration of statistics": ("fcm-none", 0),
    "restoration: ecs": ("fcm-ecs", 0),
    "restoration: simplified": ("fcm-simplified", 0),
    "levels rounded, not chosen by rate and distortion": ("fcm-rdoq-0", 3),
    "block DCT, no calibration": ("fcm-dct", 2),
    "K = 320": ("fcm-k320", 0),
    "K = 128": ("fcm-k128", 0),
}
QPS = (22, 25, 28, 31, 34, 37, 39)
MEASURES = ("ap50", "ap75", "mota")
# Columns: the same measures against what is annotated, and against what is found in the uncompressed features.
TRUTHS = ("annotated", "uncompressed")
# The codec was decided on the first; the others are kept for this.
REAL = (("TUD-Campus",), ("TUD-Stadtmitte", "PETS09-S2L1"))
SCENES = os.path.join(common.ROOT, ".cache/results/scenes")


def evaluate(network, sequences, calibration, jobs):
    """The reports of fcm-eval, one for each truth; detections are made once."""
    return {truth: report(network, sequences, calibration, jobs, truth) for truth in TRUTHS}


def report(network, sequences, calibration, jobs, truth):
    command = [os.path.join(common.TARGET, "release/fcm-eval"), "run", "--json", "--network", f"eval/networks/{network}.toml", "--frames", "96"]
    command += ["--truth", truth, "--chains", ",".join(["uncompressed", DEFAULT, *(chain for chain, _ in CHAINS.values())]), "--reference", DEFAULT, "--jobs", str(jobs)]
    for chain, shift in [(DEFAULT, 0), *CHAINS.values()]:
        command += ["--points", f"{chain}={','.join(str(qp + shift) for qp in QPS)}"]
    for source in calibration:
        command += ["--calibrate", source]
    done = subprocess.run([*command, *sequences], cwd=common.ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"fcm-eval: status {done.returncode}")
    return json.loads(done.stdout)


def scenes():
    """Folders of the rendered scenes to test and to calibrate on: those of make results."""
    for folder, options in [("test", "--seed 1 --scenes 3 --frames 96"), ("calibration", "--seed 500 --scenes 20 --frames 100 --step 10")]:
        out = os.path.join(SCENES, folder)
        if not os.path.isdir(out):
            tool = os.path.join(common.TARGET, "release/fcm-scenes")
            subprocess.run([tool, "--out", out + ".part", *options.split()], check=True)
            os.rename(out + ".part", out)
    return [[os.path.join(SCENES, folder, s) for s in sorted(os.listdir(os.path.join(SCENES, folder)))] for folder in ("test", "calibration")]


def rows(reports, together, each):
    """Of all sequences together, and if asked for of each: what every chain costs."""
    for sequences in zip(*(reports[truth]["sequences"] for truth in TRUTHS)):
        sequence = sequences[0]
        everything = sequence["name"] == "All sequences" or len(reports[TRUTHS[0]]["sequences"]) == 1
        if not everything and not each:
            continue
        name = together if everything else sequence["name"]
        rates = {truth: {row["chain"]: row["rates"] for table in s["bd_rates"] for row in table["rows"]} for truth, s in zip(TRUTHS, sequences)}
        for change, (chain, shift) in {"as by default": (DEFAULT, 0), **CHAINS}.items():
            points = [r for r in sequence["rows"] if r["chain"] == chain]
            middle = points[len(points) // 2]
            yield dict(
                sequence=name,
                change=change,
                chain=chain,
                **{truth: {m: rates[truth][chain][n] if chain in rates[truth] else None for n, m in enumerate(MEASURES)} for truth in TRUTHS},
                setting=middle["setting"],
                kbit_s=middle["kbit_s"],
                encode_ms=middle["encode_ms"],
                decode_ms=middle["decode_ms"],
            )


def table(found, name):
    text = f"## {name}\n\n| change | {' | '.join(TRUTHS)} | at | kbit/s | encode ms | decode ms |\n|---|---|---|---|---|---|---|\n"
    percent = lambda rates: "" if set(rates) == {None} else ", ".join("–" if x is None else f"{x:+.1f}" for x in rates) + " %"
    for r in (r for r in found if r["sequence"] == name):
        measures = " | ".join(percent([r[truth][m] for m in MEASURES]) for truth in TRUTHS)
        text += f"| {r['change']} (`{r['chain']}`) | {measures} | {r['setting']} | {r['kbit_s']:.1f} | {r['encode_ms']:.1f} | {r['decode_ms']:.1f} |\n"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="real sequences to run, comma-separated; scenes are one", default=",".join(("scenes", *sum(REAL, ()))))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    found = []
    subprocess.run([os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "-p", "fcm-eval", "-p", "fcm-scenes"], cwd=common.ROOT, check=True)
    if "scenes" in wanted:
        test, calibration = scenes()
        reports = evaluate("street", test, calibration, arguments.jobs)
        found += rows(reports, f"{len(test)} rendered scenes, the project's network", each=False)
    data = os.path.join(common.DATA, "mot")
    for group in REAL:
        sequences = [os.path.join(data, s) for s in group if s in wanted]
        if not sequences:
            continue
        if not os.path.isdir(data):
            print(f"skipped: {', '.join(group)}, no measuring data (FCM_DATA)", file=sys.stderr)
            continue
        reports = evaluate("yolox-nano-pan", sequences, common.calibration_sources(), arguments.jobs)
        found += rows(reports, " and ".join(s["name"] for s in reports[TRUTHS[0]]["sequences"] if s["name"] != "All sequences"), each=True)
    if not found:
        return
    names = list(dict.fromkeys(r["sequence"] for r in found))
    command = "make results-ablation" + ("" if arguments.only == parser.get_default("only") else f" ABLATION='--only {arguments.only}'")
    last = reports[TRUTHS[0]]
    # Of what a report says of its transform, sources are another matter with every sequence.
    transform = last["sequences"][0]["transform"].split(", learnt")[0]
    head = dict(command=command, machine=last["machine"], commit=last["commit"], jobs=arguments.jobs, transform=transform)
    text = f"""# What every tool is worth

Command: `{command}`  
Data: the first 96 frames of each sequence; transforms learnt as for `make results` (a sequence that is tested is left out), {head['transform']}  
Machine: {head['machine']}  
Commit: {head['commit']}

Each row changes one setting of `{DEFAULT}`, the codec with its defaults. The percentages are BD-rates against it: the rate
that the change costs at equal AP50, AP75 and MOTA (negative: saves), against the sequences' annotations and against what is tracked in the uncompressed
features (`--truth uncompressed`: less noise, since what the network gets wrong anyway does not count), from qp {', '.join(map(str, QPS))} (shifted where a change moves the rate). Rate and times, in
milliseconds a frame with {head['jobs']} chains running at once, are those at the qp named. On a single sequence differences of a few per cent, of MOTA and AP75 of ten,
are noise; what both truths say is more than one of them. [Evaluation](../evaluation.md) says what chains and measures are. The prior of the models is part of the format and has no switch.

"""
    text += "\n".join(table(found, name) for name in names)
    common.write_report("ablation", text, {**head, "rows": found})


if __name__ == "__main__":
    main()
