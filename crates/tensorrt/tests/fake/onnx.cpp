// The FAKE parser's reader of ONNX files.

#include "onnx.h"

namespace fake {

namespace {

// One field of a message: a number, or bytes.
struct Field {
    uint32_t number;
    uint64_t value;
    std::string bytes;
};

class Message {
public:
    explicit Message(std::string const& bytes) : bytes_(bytes) {}

    bool next(Field& field) {
        if (at_ >= bytes_.size()) return false;
        uint64_t const key = varint();
        field = Field{static_cast<uint32_t>(key >> 3), 0, ""};
        switch (key & 7) {
        case 0: field.value = varint(); break;
        case 1: take(8); break;
        case 2: field.bytes = take(varint()); break;
        case 5: take(4); break;
        default: throw std::runtime_error("no ONNX: a field of an unknown kind");
        }
        return true;
    }

private:
    uint64_t varint() {
        uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            auto const byte = static_cast<unsigned char>(take(1)[0]);
            value |= static_cast<uint64_t>(byte & 0x7F) << shift;
            if ((byte & 0x80) == 0) return value;
        }
        throw std::runtime_error("no ONNX: a number without end");
    }

    std::string take(uint64_t count) {
        if (count > bytes_.size() - at_) throw std::runtime_error("no ONNX: it ends inside a field");
        std::string const taken = bytes_.substr(at_, count);
        at_ += count;
        return taken;
    }

    std::string const& bytes_;
    size_t at_ = 0;
};

template <typename Visit>
void each_field(std::string const& bytes, Visit&& visit) {
    Message message(bytes);
    for (Field field; message.next(field);) visit(field);
}

nvinfer1::DataType type_of(uint64_t elem_type) {
    using nvinfer1::DataType;
    switch (elem_type) {
    case 1: return DataType::kFLOAT;
    case 3: return DataType::kINT8;
    case 6: return DataType::kINT32;
    case 9: return DataType::kBOOL;
    case 10: return DataType::kHALF;
#if NV_TENSORRT_MAJOR >= 10
    case 7: return DataType::kINT64;
    case 16: return DataType::kBF16;
#endif
    default: throw std::runtime_error("an input or output of ONNX type " + std::to_string(elem_type));
    }
}

Dim read_dim(std::string const& bytes, std::string const& unnamed) {
    Dim dim{-1, unnamed};
    each_field(bytes, [&](Field const& field) {
        if (field.number == 1) dim = Dim{static_cast<int64_t>(field.value), ""};
        if (field.number == 2) dim = Dim{-1, field.bytes};
    });
    return dim;
}

// ValueInfoProto: name, type { tensor_type { elem_type, shape { dim } } }.
Tensor read_value(std::string const& bytes, bool is_input) {
    Tensor tensor;
    tensor.is_input = is_input;
    std::string type, tensor_type, shape;
    each_field(bytes, [&](Field const& field) {
        if (field.number == 1) tensor.name = field.bytes;
        if (field.number == 2) type = field.bytes;
    });
    each_field(type, [&](Field const& field) {
        if (field.number == 1) tensor_type = field.bytes;
    });
    each_field(tensor_type, [&](Field const& field) {
        if (field.number == 1) tensor.type = type_of(field.value);
        if (field.number == 2) shape = field.bytes;
    });
    each_field(shape, [&](Field const& field) {
        std::string const unnamed = tensor.name + "." + std::to_string(tensor.dims.size());
        if (field.number == 1) tensor.dims.push_back(read_dim(field.bytes, unnamed));
    });
    return tensor;
}

Node read_node(std::string const& bytes) {
    Node node;
    each_field(bytes, [&](Field const& field) {
        if (field.number == 3) node.name = field.bytes;
        if (field.number == 4) node.op = field.bytes;
    });
    return node;
}

void read_entry(std::string const& bytes, External& external) {
    std::string key, value;
    each_field(bytes, [&](Field const& field) {
        if (field.number == 1) key = field.bytes;
        if (field.number == 2) value = field.bytes;
    });
    if (key == "location") external.location = value;
    if (key == "offset") external.offset = std::stoull(value);
    if (key == "length") external.length = std::stoull(value);
}

void read_initializer(std::string const& bytes, Model& model) {
    External external;
    bool is_external = false;
    each_field(bytes, [&](Field const& field) {
        if (field.number == 13) read_entry(field.bytes, external);
        if (field.number == 14) is_external = field.value == 1;
    });
    if (is_external) model.externals.push_back(external);
}

}  // namespace

Model read_onnx(std::string const& bytes) {
    Model model;
    std::string graph;
    each_field(bytes, [&](Field const& field) {
        if (field.number == 7) graph = field.bytes;
    });
    if (graph.empty()) throw std::runtime_error("no ONNX: it has no graph");
    std::vector<Tensor> outputs;
    each_field(graph, [&](Field const& field) {
        if (field.number == 1) model.nodes.push_back(read_node(field.bytes));
        if (field.number == 5) read_initializer(field.bytes, model);
        if (field.number == 11) model.tensors.push_back(read_value(field.bytes, true));
        if (field.number == 12) outputs.push_back(read_value(field.bytes, false));
    });
    model.tensors.insert(model.tensors.end(), outputs.begin(), outputs.end());
    return model;
}

}  // namespace fake
