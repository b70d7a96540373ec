"""A network that was cut in two, as its description (eval/networks/*.toml) and its ONNX files say, in PyTorch."""
import os
import tempfile
import tomllib
import warnings

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx2torch import convert
from torch import nn

# Its converter of Slice indexes in a way that PyTorch is about to drop.
warnings.filterwarnings("ignore", message="Using a non-tuple sequence", category=UserWarning)


def for_batches(model):
    """The model with reshapes that keep the batch as it comes, where they are written for a batch of one."""
    shapes = {n.input[1] for n in model.graph.node if n.op_type == "Reshape"}
    constants = [(n.output[0], a.t) for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    for name, tensor in [(t.name, t) for t in model.graph.initializer] + constants:
        shape = numpy_helper.to_array(tensor).copy() if name in shapes else np.zeros(0)
        if shape.size and shape[0] == 1:
            shape[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    return model


def module(path):
    """An ONNX file as a frozen module, with the names and shapes of its inputs and outputs."""
    model = for_batches(onnx.load(path))
    known = {t.name for t in model.graph.initializer}
    spec = lambda values: [(v.name, [d.dim_value for d in v.type.tensor_type.shape.dim]) for v in values]
    inputs = spec(v for v in model.graph.input if v.name not in known)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.onnx")
        onnx.save(model, file)
        converted = convert(file)
    converted.requires_grad_(False)
    return converted.eval(), inputs, spec(model.graph.output)


class SplitNetwork(nn.Module):
    """Front and back half, what pictures have to look like, and what the head's numbers mean."""

    def __init__(self, description, models, size=None):
        """`size`: height and width of pictures other than those it was made for, where it is all convolutions."""
        super().__init__()
        with open(description, "rb") as file:
            self.description = tomllib.load(file)
        near = os.path.dirname(os.path.abspath(description))
        find = lambda name: next(
            (p for p in (os.path.join(models, name), os.path.join(near, name)) if os.path.exists(p)), os.path.join(models, name)
        )
        front = find(self.description["front"])
        self.front, picture, layers = module(front)
        self.back, taken, self.outputs = module(find(self.description["back"]))
        # The order in which processors convolve fastest: a quarter of the front half's time.
        self.front.to(memory_format=torch.channels_last)
        # Cut networks do not always say the shapes between their halves.
        self.size = size or tuple(picture[0][1][2:])
        with torch.no_grad():
            shapes = [list(t.shape) for t in self.as_list(self.front(torch.zeros(1, 3, *self.size)))]
        self.layers = [(name, shape[1:]) for (name, _), shape in zip(layers, shapes)]
        self.order = [[name for name, _ in self.layers].index(name) for name, _ in taken]
        prepare = self.description.get("picture", {})
        self.pad = float(prepare.get("pad", 0))
        self.rgb = prepare.get("channels", "rgb") == "rgb"
        self.register_buffer("mean", torch.tensor(prepare.get("mean", [0.0] * 3)).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(prepare.get("std", [1.0] * 3)).view(1, 3, 1, 1))

    @staticmethod
    def as_list(outputs):
        return [outputs] if torch.is_tensor(outputs) else list(outputs)

    def features(self, pictures):
        """Layers of pictures [B,3,H,W], red first, 0 to 255, of the network's size."""
        x = pictures if self.rgb else pictures.flip(1)
        return self.as_list(self.front((x - self.mean) / self.std))

    def head(self, layers):
        """Scores [B,A,classes], 0 to 1, and boxes [B,A,4] (x1, y1, x2, y2 in pixels of the input) of the layers."""
        outputs = self.as_list(self.back(*(layers[n] for n in self.order)))
        return HEADS[self.description["head"]["kind"]](outputs, self.size, self.description["head"]["strides"])


def centres(size, strides, offset, device):
    """Corner (offset 0) or middle (offset .5) of every cell, in cells, and its stride."""
    points, sides = [], []
    for stride in strides:
        rows, columns = (-(-side // stride) for side in size)
        y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
        points.append(torch.stack([x, y], -1).view(-1, 2).float() + offset)
        sides.append(torch.full((rows * columns, 1), float(stride), device=device))
    return torch.cat(points), torch.cat(sides)


def yolox(outputs, size, strides):
    """One output [B,A,5 + classes]: offsets, logarithms of the sides, objectness, classes; the last two as probabilities."""
    x = outputs[0]
    points, sides = centres(size, strides, 0.0, x.device)
    middle = (x[..., :2] + points) * sides
    half = x[..., 2:4].clamp(max=8.0).exp() * sides / 2
    return x[..., 4:5] * x[..., 5:], torch.cat([middle - half, middle + half], -1)


def nanodet(outputs, size, strides):
    """Class probabilities for each stride, then distances to the four sides for each, as distributions over 8 cells."""
    count = len(strides)
    scores, bins = torch.cat(outputs[:count], 1), torch.cat(outputs[count:], 1)
    points, sides = centres(size, strides, 0.5, scores.device)
    bins = bins.view(*bins.shape[:2], 4, -1).softmax(-1)
    distance = (bins * torch.arange(bins.shape[-1], device=bins.device)).sum(-1)
    return scores, torch.cat([(points - distance[..., :2]) * sides, (points + distance[..., 2:]) * sides], -1)


HEADS = {"yolox": yolox, "nanodet": nanodet}
