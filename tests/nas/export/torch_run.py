#!/usr/bin/python3
"""Logits by PyTorch of a network built from net.config: torch_run.py CONFIG WEIGHTS IMAGES OUT N C H W

The modules bear the names that the code of ProxylessNAS and Once-for-All gives them, and
load_state_dict is strict: a tensor too many, too few or of another shape is an error.
IMAGES and OUT are plain floats.
"""
import json
import sys
from collections import OrderedDict

import numpy
import torch
from torch import nn


def act(name):
    return {"relu": nn.ReLU, "relu6": nn.ReLU6, "h_swish": nn.Hardswish, "h_sigmoid": nn.Hardsigmoid}[name]()


def conv(cin, cout, k=1, stride=1, groups=1, bias=False):
    return nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups, bias=bias)


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = max(8, int(channels // 4 + 4) // 8 * 8)
        hidden += 8 if hidden < 0.9 * (channels // 4) else 0
        self.fc = nn.Sequential(OrderedDict(
            reduce=conv(channels, hidden, bias=True), relu=nn.ReLU(),
            expand=conv(hidden, channels, bias=True), h_sigmoid=nn.Hardsigmoid()))

    def forward(self, x):
        return x * self.fc(x.mean((2, 3), keepdim=True))


def conv_layer(c):
    parts = OrderedDict(conv=conv(c["in_channels"], c["out_channels"], c["kernel_size"], c["stride"],
                                  c["groups"], c["bias"]))
    if c["use_bn"]:
        parts["bn"] = nn.BatchNorm2d(c["out_channels"])
    if c["act_func"]:
        parts["act"] = act(c["act_func"])
    return nn.Sequential(parts)


class MobileInvertedConv(nn.Module):
    def __init__(self, c):
        super().__init__()
        mid = c.get("mid_channels") or round(c["in_channels"] * c["expand_ratio"])
        activation = c.get("act_func", "relu6")
        self.inverted_bottleneck = None
        if c["expand_ratio"] != 1:
            self.inverted_bottleneck = nn.Sequential(OrderedDict(
                conv=conv(c["in_channels"], mid), bn=nn.BatchNorm2d(mid), act=act(activation)))
        depth = OrderedDict(conv=conv(mid, mid, c["kernel_size"], c["stride"], mid),
                            bn=nn.BatchNorm2d(mid), act=act(activation))
        if c.get("use_se"):
            depth["se"] = SqueezeExcite(mid)
        self.depth_conv = nn.Sequential(depth)
        self.point_linear = nn.Sequential(OrderedDict(
            conv=conv(mid, c["out_channels"]), bn=nn.BatchNorm2d(c["out_channels"])))

    def forward(self, x):
        x = self.inverted_bottleneck(x) if self.inverted_bottleneck else x
        return self.point_linear(self.depth_conv(x))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        layer = c["mobile_inverted_conv"]
        self.mobile_inverted_conv = None if layer["name"] == "ZeroLayer" else MobileInvertedConv(layer)
        self.shortcut = c["shortcut"] is not None

    def forward(self, x):
        if self.mobile_inverted_conv is None:
            return x
        y = self.mobile_inverted_conv(x)
        return x + y if self.shortcut else y


class Network(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.first_conv = conv_layer(c["first_conv"])
        self.blocks = nn.ModuleList(Block(b) for b in c["blocks"])
        self.mixes = c["name"] == "MobileNetV3"
        if self.mixes:
            self.final_expand_layer = conv_layer(c["final_expand_layer"])
        self.feature_mix_layer = conv_layer(c["feature_mix_layer"])
        linear = c["classifier"]
        self.classifier = nn.Sequential(OrderedDict(
            linear=nn.Linear(linear["in_features"], linear["out_features"], linear["bias"])))
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.momentum, m.eps = c["bn"]["momentum"], c["bn"]["eps"]

    def forward(self, x):
        x = self.first_conv(x)
        for block in self.blocks:
            x = block(x)
        if self.mixes:
            x = self.feature_mix_layer(self.final_expand_layer(x).mean((2, 3), keepdim=True))
        else:
            x = self.feature_mix_layer(x).mean((2, 3), keepdim=True)
        return self.classifier(x.flatten(1))


def read_safetensors(path):
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    kinds = {"F32": "<f4", "I64": "<i8"}
    state = {}
    for name, t in header.items():
        begin, end = (8 + size + offset for offset in t["data_offsets"])
        values = numpy.frombuffer(data[begin:end], kinds[t["dtype"]]).reshape(t["shape"])
        state[name] = torch.from_numpy(values.copy())
    return state


def main():
    config, weights, images, out, *dims = sys.argv[1:]
    torch.set_num_threads(1)
    net = Network(json.load(open(config)))
    if weights.endswith((".pth", ".pt")):
        state = torch.load(weights, weights_only=True)["state_dict"]
    else:
        state = read_safetensors(weights)
    net.load_state_dict(state, strict=True)
    x = torch.from_numpy(numpy.fromfile(images, "<f4")).reshape([int(d) for d in dims])
    with torch.no_grad():
        net.eval()(x).numpy().tofile(out)


if __name__ == "__main__":
    main()
