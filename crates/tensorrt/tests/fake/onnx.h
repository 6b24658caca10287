// As much of ONNX as the FAKE parser reads: names, operators, inputs, outputs, external data.
//
// Field numbers are those of onnx.proto; the wire format is that of protocol buffers.
#pragma once

#include "fake.h"

namespace fake {

struct Node {
    std::string name;
    std::string op;
};

// A weight that lies in another file.
struct External {
    std::string location;
    uint64_t offset = 0;
    uint64_t length = 0;
};

struct Model {
    std::vector<Node> nodes;
    std::vector<Tensor> tensors;  // inputs, then outputs
    std::vector<External> externals;
};

// Throws std::runtime_error.
Model read_onnx(std::string const& bytes);

}  // namespace fake
