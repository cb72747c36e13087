#!/usr/bin/python3
"""ONNX's own judgement of a file: onnx_check.py FILE.  Prints "ok" and the shape of the logits."""
import sys

import onnx
from onnx import checker, shape_inference

model = onnx.load(sys.argv[1])
checker.check_model(model, full_check=True)
inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)

known = {v.name: v for v in inferred.graph.value_info}
for node in inferred.graph.node:
    for name in node.output:
        assert name in known or name == "logits", "no shape of %s" % name
shape = inferred.graph.output[0].type.tensor_type.shape
print("ok", *(d.dim_param or d.dim_value for d in shape.dim))
