// Plans of the FAKE TensorRT: a small text that says what goes in, what comes out, and in which shapes.

#include "fake.h"

#include <sstream>

namespace fake {

namespace {

char const kMagic[] = "FAKE-TENSORRT-PLAN";

using nvinfer1::DataType;
std::pair<char const*, DataType> const kTypes[] = {
    {"f32", DataType::kFLOAT}, {"f16", DataType::kHALF},  {"i32", DataType::kINT32},
    {"i8", DataType::kINT8},   {"bool", DataType::kBOOL},
#if NV_TENSORRT_MAJOR >= 10
    {"i64", DataType::kINT64}, {"bf16", DataType::kBF16},
#endif
};

std::string type_text(DataType type) {
    for (auto const& known : kTypes) {
        if (known.second == type) return known.first;
    }
    throw std::runtime_error("a type that the fake does not know");
}

DataType type_from(std::string const& text) {
    for (auto const& known : kTypes) {
        if (text == known.first) return known.second;
    }
    throw std::runtime_error("unknown type '" + text + "'");
}

std::vector<std::string> split(std::string const& text) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
    return parts;
}

std::string join(std::vector<int64_t> const& sizes) {
    std::string text;
    for (auto size : sizes) text += (text.empty() ? "" : ",") + std::to_string(size);
    return text;
}

std::vector<int64_t> sizes_from(std::string const& text) {
    std::vector<int64_t> sizes;
    for (auto const& part : split(text)) sizes.push_back(std::stoll(part));
    return sizes;
}

std::vector<Dim> dims_from(std::string const& text) {
    std::vector<Dim> dims;
    for (auto const& part : split(text)) {
        bool const is_number = part.find_first_not_of("0123456789") == std::string::npos;
        dims.push_back(is_number ? Dim{std::stoll(part), ""} : Dim{-1, part});
    }
    return dims;
}

void read_line(Plan& plan, std::istringstream& line, std::string const& kind) {
    std::string a, b, c, d;
    if (kind == "device") {
        line >> plan.device;
    } else if (kind == "tensor") {
        line >> a >> b >> c >> d;
        plan.tensors.push_back(Tensor{b, a == "in", type_from(c), dims_from(d)});
    } else if (kind == "profile") {
        size_t index = 0;
        line >> index >> a >> b >> c >> d;
        if (index > 16) throw std::runtime_error("more profiles than the fake takes");
        if (plan.profiles.size() <= index) plan.profiles.resize(index + 1);
        plan.profiles[index][a] = Range{sizes_from(b), sizes_from(c), sizes_from(d)};
    } else if (kind == "layer") {
        line >> a;
        plan.layers.push_back(a);
    } else {
        throw std::runtime_error("unknown line '" + kind + "'");
    }
}

}  // namespace

nvinfer1::Dims Tensor::shape() const {
    nvinfer1::Dims result{};
    result.nbDims = static_cast<int32_t>(dims.size());
    for (size_t axis = 0; axis < dims.size(); ++axis) result.d[axis] = dims[axis].size;
    return result;
}

Tensor const* Plan::find(std::string const& name) const {
    for (auto const& tensor : tensors) {
        if (tensor.name == name) return &tensor;
    }
    return nullptr;
}

std::string Plan::to_text() const {
    std::ostringstream text;
    text << kMagic << ' ' << version << "\ndevice " << device << '\n';
    for (auto const& tensor : tensors) {
        text << "tensor " << (tensor.is_input ? "in " : "out ") << tensor.name << ' ' << type_text(tensor.type) << ' ';
        for (size_t axis = 0; axis < tensor.dims.size(); ++axis) {
            auto const& dim = tensor.dims[axis];
            text << (axis == 0 ? "" : ",") << (dim.size < 0 ? dim.name : std::to_string(dim.size));
        }
        text << '\n';
    }
    for (size_t index = 0; index < profiles.size(); ++index) {
        for (auto const& entry : profiles[index]) {
            text << "profile " << index << ' ' << entry.first << ' ' << join(entry.second.min) << ' '
                 << join(entry.second.opt) << ' ' << join(entry.second.max) << '\n';
        }
    }
    for (auto const& layer : layers) text << "layer " << layer << '\n';
    text << "end\n";
    return text.str();
}

Plan Plan::from_text(std::string const& text) {
    std::istringstream lines(text);
    std::string magic;
    Plan plan;
    lines >> magic >> plan.version;
    if (magic != kMagic) throw std::runtime_error("magic tag does not match: this is no plan of the fake");
    if (plan.version != version_text()) {
        throw std::runtime_error("the plan is of version " + plan.version + ", this is " + version_text());
    }
    lines.ignore();
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string kind;
        words >> kind;
        if (kind == "end") return plan;
        try {
            read_line(plan, words, kind);
        } catch (std::logic_error const&) {
            throw std::runtime_error("a line that is no plan's: " + line);
        }
    }
    throw std::runtime_error("the plan is cut off");
}

}  // namespace fake
