"""Classify pictures with a bundle: python examples/classify.py BUNDLE IMAGE..."""

import sys

import edgetl

bundle, *images = sys.argv[1:]
model = edgetl.load(bundle)
for image in images:
    try:
        answer = model.predict(image)
    except edgetl.InputError as error:
        print(f"{image}: {error}")
    else:
        print(f"{image}: {answer.label} ({answer.probability:.1%})")
