from __future__ import annotations
import numpy as np, onnx
from dataclasses import replace
from edgetl.backends import get_backend
def test_x(kits, tiny, recipe, calibration, batch, tmp_path):
    for name in ("openvino","onnxruntime"):
        kit=kits(name); b=get_backend(name)
        ex=np.concatenate([b.load(*kit.with_file("f32")).run(i[None]) for i in batch])
        print(name, "spread over images", ex.std(0), ex.mean(0))
        for a in ("auto","asymmetric"):
            for bc in ("full","fast","none"):
                o=tmp_path/"o.onnx"
                b.quantize(tiny.model, calibration, recipe.model_copy(update=dict(activations=a,bias_correction=bc)), kit.target, [], o)
                e=tmp_path/b.build(o,kit.target,tmp_path)
                got=np.concatenate([b.load(e,kit.spec).run(i[None]) for i in batch])
                got2=np.concatenate([get_backend("onnxruntime").load(o,kits("onnxruntime").spec).run(i[None]) for i in batch])
                print(name,a,bc, np.corrcoef(ex.ravel(),got.ravel())[0,1], abs(ex-got).max(), (got-ex).mean(0), "in ort", np.corrcoef(ex.ravel(),got2.ravel())[0,1])
