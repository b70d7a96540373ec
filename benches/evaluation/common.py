"""What evaluation scripts need: where data, measuring tools and the fcm command are; runs of the command; reports.

The measuring tools (detector head, AP, MOTA, IDF1, BD-rate, the prototype of the inner codec) and the data are not part of this
repository: FCM_DATA names the data (default ../shared/data), FCM_LAB the tools (default: lab beside the data).
Feature files are made by benches/evaluation/extract.py and kept in FCM_FEATURES (default .cache/features).
"""
import json
import os
import platform
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
DATA = os.path.abspath(os.environ.get("FCM_DATA", os.path.join(ROOT, "../shared/data")))
LAB = os.path.abspath(os.environ.get("FCM_LAB", os.path.join(DATA, "../lab")))
FEATURES = os.path.abspath(os.environ.get("FCM_FEATURES", os.path.join(ROOT, ".cache/features")))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
FCM = os.environ.get("FCM", os.path.join(TARGET, "release/fcm"))
PACKAGES = ("onnx", "onnxruntime", "numpy", "scipy", "numba", "opencv-python-headless", "motmetrics")
SEQUENCE, NETWORK, FRAMES, FPS = "TUD-Stadtmitte", "yolox_pan", 96, 25.0


# What is calibrated on, below DATA, with strides; as scripts/results does.
CALIBRATION = ("mot/TUD-Campus:2", "video/one-by-one-person-detection.mp4:12", "video/bottle-detection.mp4:30")


def calibration_sources():
    return [os.path.join(DATA, source) for source in CALIBRATION]


def prepare():
    """Checks that everything is there; makes a virtual environment, the feature files and the command where they are missing."""
    if not os.path.isdir(DATA) or not os.path.exists(os.path.join(LAB, "fcmlab.py")):
        print(f"skipped: no data in {os.path.relpath(DATA, ROOT)} or no measuring tools beside it (FCM_DATA, FCM_LAB)")
        sys.exit(0)
    try:
        import cv2, motmetrics, numba, onnxruntime, scipy  # noqa: F401, E401
    except ImportError:
        if os.environ.get("FCM_EVALUATION_VENV"):
            raise
        venv = os.path.join(ROOT, ".cache/evaluation-venv")
        python = os.path.join(venv, "bin/python")
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        sys.exit(subprocess.run([python, *sys.argv], env={**os.environ, "FCM_EVALUATION_VENV": "1"}).returncode)
    script = os.path.join(ROOT, "benches/evaluation/extract.py")
    subprocess.run([sys.executable, script, "--data", DATA, "--out", FEATURES], check=True)
    if "FCM" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--locked", "-p", "fcm-cli"], cwd=ROOT, check=True)
    os.environ["FCMLAB_CACHE"] = FEATURES
    os.environ.setdefault("NUMBA_CACHE_DIR", os.path.join(FEATURES, "numba"))
    sys.dont_write_bytecode = True
    sys.path.insert(0, LAB)


def feature_files():
    with open(os.path.join(FEATURES, "features.json")) as f:
        listed = json.load(f)
    return os.path.join(FEATURES, listed["test"]), [os.path.join(FEATURES, n) for n in listed["calibration"]]


def fcm(*arguments):
    """Runs the fcm command with --json and returns what it prints."""
    done = subprocess.run([FCM, *map(str, arguments), "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"fcm {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def calibrated(components, folder):
    """The transform of the calibration files, made by the fcm command."""
    _, files = feature_files()
    path = os.path.join(folder, f"transform-{components}.fcmt")
    return path, fcm("calibrate", "-o", path, "--components", components, *files)


def kbit_per_second(path, frames=FRAMES):
    return os.path.getsize(path) * 8 * FPS / frames / 1000


def layers(path):
    import numpy as np

    z = np.load(path)
    return [z[k] for k in z.files]


def provenance():
    """Commit and machine, for the head of a report."""
    git = lambda *a: subprocess.run(["git", *a], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    cpu = "unknown processor"
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as f:
            cpu = next((l.split(":", 1)[1].strip() for l in f if l.startswith("model name")), cpu)
    changed = " with uncommitted changes" if git("status", "--porcelain", "--untracked-files=no", "--", "codec", "cli") else ""
    return {
        "commit": git("rev-parse", "--short=12", "HEAD") + changed,
        "machine": f"{cpu}, {os.cpu_count()} logical processors, {platform.system()} {platform.machine()}",
        "data": f"{SEQUENCE} frames 1-{FRAMES}, features of YOLOX-nano 608x1088 cut after its PAN neck "
        "(64x76x136, 128x38x68, 256x19x34; float16), rates at 25 frames/s; calibration on TUD-Campus and two plain videos",
    }


def write_report(name, markdown, values):
    folder = os.path.join(ROOT, "docs/results")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name + ".md"), "w") as f:
        f.write(markdown)
    with open(os.path.join(folder, name + ".json"), "w") as f:
        json.dump(values, f, indent=1)
        f.write("\n")
    print(f"written: docs/results/{name}.md and .json")


def head(title, command, p):
    return f"# {title}\n\nCommand: `{command}`  \nData: {p['data']}  \nMachine: {p['machine']}  \nCommit: {p['commit']}\n\n"


def workplace():
    return tempfile.TemporaryDirectory(prefix="fcm-evaluation-")
