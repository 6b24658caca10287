"""Writes a class for each table of virtual functions that the FAKE TensorRT stands in for.

Usage: stubs.py <folder of TensorRT's headers> > stubs.h

Every function of `FakeV...` ends the process with its own name, so the fake overrides what the shim
calls, and a call that nobody thought of is seen at once. Nothing of the headers is kept.
"""

import re
import sys
from pathlib import Path

TABLES = {
    "NvInferImpl.h": (
        "nvinfer1::apiv",
        "VRuntime VCudaEngine VExecutionContext VEngineInspector VHostMemory VBuilder VBuilderConfig "
        "VNetworkDefinition VLayer VTensor VOptimizationProfile VTimingCache",
    ),
    "NvOnnxParser.h": ("nvonnxparser", "IParser"),
}
PURE = re.compile(r"\bvirtual\b([^;{}]*?)=\s*0\s*;", re.S)


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)


def body_of(text, name):
    start = re.search(rf"\bclass {name}\b[^;{{]*\{{", text)
    if start is None:
        sys.exit(f"no class {name} in the headers")
    return text[start.end() : text.index("\n};", start.end())]


def stub(namespace, name, body):
    print(f"struct Fake{name} : {namespace}::{name} {{")
    functions = PURE.findall(body)
    if not functions:
        sys.exit(f"class {name} has no virtual functions: is stubs.py blind?")
    for function in functions:
        # A default argument belongs to the base; an override need not repeat it.
        signature = re.sub(r"\s*=\s*nullptr", "", " ".join(function.split()))
        called = re.search(r"(\w+)\s*\(", signature).group(1)
        print(f'    {signature} override {{ never("{name}::{called}"); }}')
    print("};\n")


def main():
    folder = Path(sys.argv[1])
    print("// Written by stubs.py from TensorRT's headers; part of the FAKE, never of the program.")
    print("using namespace nvinfer1;\n")
    for file, (namespace, names) in TABLES.items():
        text = without_comments((folder / file).read_text())
        print(f"using namespace {namespace};\n")
        for name in names.split():
            stub(namespace, name, body_of(text, name))


main()
