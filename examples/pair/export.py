"""Writes the pair as two ONNX files, strongest component first, and checks them against PyTorch."""
import os

import numpy as np
import onnxruntime
import torch


@torch.no_grad()
def sort(reduction, restoration, fused_variances):
    """Orders components by falling variance, which the native codec makes use of."""
    order = fused_variances.argsort(descending=True)
    for layer in (*reduction.maps, reduction.gate[-1]):
        layer.weight.copy_(layer.weight[order])
        if layer.bias is not None:
            layer.bias.copy_(layer.bias[order])
    for layer in (reduction.gate[0], restoration.mend[0]):
        layer.weight.copy_(layer.weight[:, order])
    restoration.mend[-1].weight.copy_(restoration.mend[-1].weight[order])
    restoration.mend[-1].bias.copy_(restoration.mend[-1].bias[order])
    for layer in restoration.maps:
        layer.weight.copy_(layer.weight[order])
    return order


def write(module, inputs, names_in, names_out, path):
    """One module; rows and columns stay open, so that the pair fits every size of picture."""
    axes = {name: {2: f"{name}_rows", 3: f"{name}_columns"} for name in (*names_in, *names_out)}
    torch.onnx.export(
        module, tuple(inputs), path, input_names=names_in, output_names=names_out, dynamic_axes=axes, opset_version=17, dynamo=False
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = session.run(None, {name: x.numpy() for name, x in zip(names_in, inputs)})
    with torch.no_grad():
        wanted = module(*inputs)
    wanted = [wanted] if torch.is_tensor(wanted) else wanted
    for name, a, b in zip(names_out, got, wanted):
        error = np.abs(a - b.numpy()).max() / max(float(b.abs().max()), 1e-9)
        if not error < 1e-3:
            raise SystemExit(f"{path}: {name} differs from PyTorch's by {error:.1e} of its largest value")
    print(f"wrote {path}, {os.path.getsize(path) / 1e6:.1f} MB")


def export(reduction, restoration, layers, names, folder):
    """reduction.onnx and restoration.onnx in folder; layers [1,C,H,W] to try them on."""
    reduction, restoration = reduction.cpu().eval(), restoration.cpu().eval()
    layers = [l.cpu() for l in layers]
    # The order counts, not the names; and PyTorch takes none that begins with a digit.
    names = [f"layer_{name}" for name in names]
    write(reduction, layers, names, ["fused"], os.path.join(folder, "reduction.onnx"))
    with torch.no_grad():
        fused = reduction(*layers)
    write(restoration, [fused], ["fused"], names, os.path.join(folder, "restoration.onnx"))
