"""Writes the two halves of a trained network as ONNX files and checks that together they say what the whole says."""
import os
import warnings

import numpy as np
import torch

from network import CHANNELS, HEIGHT, STRIDES, WIDTH, Network, folded

LAYERS = ("p3", "p4", "p5")


def export(network, folder):
    import onnxruntime

    front, back = folded(network)
    picture = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH)).float()
    layers = tuple(torch.zeros(1, c, HEIGHT // s, WIDTH // s) for c, s in zip(CHANNELS, STRIDES))
    os.makedirs(folder, exist_ok=True)
    paths = [os.path.join(folder, name) for name in ("front.onnx", "back.onnx")]
    # The exporter that needs no further package; it says that it is not the newest.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    same = {"opset_version": 17, "do_constant_folding": True, "dynamo": False}
    torch.onnx.export(front, (picture,), paths[0], input_names=["picture"], output_names=list(LAYERS), **same)
    torch.onnx.export(back, layers, paths[1], input_names=list(LAYERS), output_names=["detections"], **same)
    sessions = [onnxruntime.InferenceSession(p, providers=["CPUExecutionProvider"]) for p in paths]
    with torch.no_grad():
        whole = network.eval()(picture).clone()
    whole[..., 4:] = whole[..., 4:].sigmoid()
    values = sessions[0].run(None, {"picture": picture.numpy()})
    got = sessions[1].run(None, dict(zip(LAYERS, values)))[0]
    worst = float(np.abs(got - whole.numpy()).max())
    if worst > 1e-3:
        raise SystemExit(f"back(front(x)) is off the whole network by {worst}")
    for path in paths:
        print(f"{path}: {os.path.getsize(path)} bytes")
    print(f"back(front(x)) equals the whole network to {worst:.1e}")


if __name__ == "__main__":
    import argparse

    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("weights")
    a.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data"))
    a = a.parse_args()
    network = Network()
    network.load_state_dict(torch.load(a.weights))
    export(network, a.out)
