// The FAKE TensorRT's ONNX parser, network, config and builder.

#include "fake.h"
#include "onnx.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <sstream>

namespace fake {

namespace {

char const kCacheMagic[] = "FAKE-TENSORRT-CACHE ";

// ---- small objects -------------------------------------------------------------------------------

class MemoryTable : public FakeVHostMemory {
public:
    explicit MemoryTable(std::string bytes) : bytes_(std::move(bytes)) {}
    void* data() const noexcept override { return const_cast<char*>(bytes_.data()); }
    size_t size() const noexcept override { return bytes_.size(); }

private:
    std::string bytes_;
};

// A public class of TensorRT around one of the tables.
template <typename Public, typename Table>
class Object final : public Public {
public:
    template <typename... Arguments>
    explicit Object(Arguments&&... arguments) : table(std::forward<Arguments>(arguments)...) {
        this->mImpl = &table;
    }
    Table table;
};

using Memory = Object<IHostMemory, MemoryTable>;

class TensorTable : public FakeVTensor {
public:
    explicit TensorTable(fake::Tensor const& tensor) : tensor_(tensor) {}
    char const* getName() const noexcept override { return tensor_.name.c_str(); }
    Dims getDimensions() const noexcept override { return tensor_.shape(); }
    DataType getType() const noexcept override { return tensor_.type; }
    bool isShapeTensor() const noexcept override { return false; }

private:
    fake::Tensor tensor_;
};

using GraphTensor = Object<ITensor, TensorTable>;

class LayerTable : public FakeVLayer {
public:
    LayerTable(std::string name, LayerType type) : name_(std::move(name)), type_(type) {}
    char const* getName() const noexcept override { return name_.c_str(); }
    LayerType getType() const noexcept override { return type_; }

private:
    std::string name_;
    LayerType type_;
};

class Layer final : public ILayer {
public:
    Layer(std::string name, LayerType type) : table_(std::move(name), type) { mLayer = &table_; }

private:
    LayerTable table_;
};

// ---- network -------------------------------------------------------------------------------------

class NetworkTable : public FakeVNetworkDefinition {
public:
    int32_t getNbLayers() const noexcept override { return static_cast<int32_t>(layers.size()); }
    ILayer* getLayer(int32_t index) const noexcept override { return layers[static_cast<size_t>(index)].get(); }
    int32_t getNbInputs() const noexcept override { return static_cast<int32_t>(inputs.size()); }
    ITensor* getInput(int32_t index) const noexcept override { return inputs[static_cast<size_t>(index)].get(); }
    int32_t getNbOutputs() const noexcept override { return static_cast<int32_t>(outputs.size()); }
    ITensor* getOutput(int32_t index) const noexcept override { return outputs[static_cast<size_t>(index)].get(); }

    std::vector<fake::Tensor> tensors;
    std::vector<std::unique_ptr<Layer>> layers;
    std::vector<std::unique_ptr<GraphTensor>> inputs, outputs;
};

using Network = Object<INetworkDefinition, NetworkTable>;

// ---- parser --------------------------------------------------------------------------------------

// Operators that the fake imports, and as what.
std::map<std::string, LayerType> const kImporters = {
    {"MatMul", LayerType::kMATRIX_MULTIPLY}, {"Gemm", LayerType::kMATRIX_MULTIPLY},
    {"Add", LayerType::kELEMENTWISE},        {"Sub", LayerType::kELEMENTWISE},
    {"Mul", LayerType::kELEMENTWISE},        {"Div", LayerType::kELEMENTWISE},
    {"Pow", LayerType::kELEMENTWISE},        {"Less", LayerType::kELEMENTWISE},
    {"LessOrEqual", LayerType::kELEMENTWISE}, {"Greater", LayerType::kELEMENTWISE},
    {"GreaterOrEqual", LayerType::kELEMENTWISE}, {"And", LayerType::kELEMENTWISE},
    {"Or", LayerType::kELEMENTWISE},         {"Equal", LayerType::kELEMENTWISE},
    {"Min", LayerType::kELEMENTWISE},        {"Max", LayerType::kELEMENTWISE},
    {"Not", LayerType::kUNARY},              {"Sqrt", LayerType::kUNARY},
    {"Reciprocal", LayerType::kUNARY},       {"Neg", LayerType::kUNARY},
    {"Exp", LayerType::kUNARY},              {"Sigmoid", LayerType::kACTIVATION},
    {"Relu", LayerType::kACTIVATION},        {"Softmax", LayerType::kSOFTMAX},
    {"Gather", LayerType::kGATHER},          {"GatherElements", LayerType::kGATHER},
    {"GatherND", LayerType::kGATHER},        {"Transpose", LayerType::kSHUFFLE},
    {"Reshape", LayerType::kSHUFFLE},        {"Unsqueeze", LayerType::kSHUFFLE},
    {"Squeeze", LayerType::kSHUFFLE},        {"Concat", LayerType::kCONCATENATION},
    {"Slice", LayerType::kSLICE},            {"Split", LayerType::kSLICE},
    {"Expand", LayerType::kSLICE},           {"Cast", LayerType::kIDENTITY},
    {"Where", LayerType::kSELECT},           {"ReduceMean", LayerType::kREDUCE},
    {"Constant", LayerType::kCONSTANT},      {"Shape", LayerType::kSHAPE},
    {"ConstantOfShape", LayerType::kFILL},   {"Range", LayerType::kFILL},
    {"Identity", LayerType::kIDENTITY},      {"QuantizeLinear", LayerType::kQUANTIZE},
    {"DequantizeLinear", LayerType::kDEQUANTIZE}, {"Conv", LayerType::kCONVOLUTION},
};

class ParserError final : public nvonnxparser::IParserError {
public:
    ParserError(int node, Node source, std::string text)
        : node_(node), source_(std::move(source)), text_(std::move(text)) {}
    virtual ~ParserError() = default;

    nvonnxparser::ErrorCode code() const override { return nvonnxparser::ErrorCode::kUNSUPPORTED_NODE; }
    char const* desc() const override {
        // The one place of the interface where TensorRT may throw.
        if (number("throw", 0) != 0) throw std::runtime_error("the fake was told to throw");
        return text_.c_str();
    }
    char const* file() const override { return "fake.cpp"; }
    int line() const override { return 0; }
    char const* func() const override { return ""; }
    int node() const override { return node_; }
    char const* nodeName() const FROM_10 { return source_.name.c_str(); }
    char const* nodeOperator() const FROM_10 { return source_.op.c_str(); }
    char const* const* localFunctionStack() const FROM_10 { return nullptr; }
    int32_t localFunctionStackSize() const FROM_10 { return 0; }

private:
    int node_;
    Node source_;
    std::string text_;
};

std::string read_file(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("could not open " + path);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    return bytes.str();
}

class Parser final : public FakeIParser {
public:
    Parser(NetworkTable& network, ILogger* logger) : network_(network), logger_(logger) {}

    bool parseFromFile(char const* path, int) noexcept override {
        if (fails("parseFromFile", logger_)) return false;
        try {
            Model const model = read_onnx(read_file(path));
            check_externals(path, model);
            for (size_t index = 0; index < model.nodes.size(); ++index) import_node(static_cast<int>(index), model.nodes[index]);
            for (auto const& tensor : model.tensors) add_tensor(tensor);
        } catch (std::exception const& exception) {
            complain(-1, Node{}, exception.what());
        }
        return errors_.empty();
    }

    int getNbErrors() const noexcept override { return static_cast<int>(errors_.size()); }
    nvonnxparser::IParserError const* getError(int index) const noexcept override {
        return errors_[static_cast<size_t>(index)].get();
    }

private:
    void complain(int node, Node const& source, std::string const& text) {
        error(logger_, "fake parser: " + text);
        errors_.push_back(std::make_unique<ParserError>(node, source, text));
    }

    void import_node(int index, Node const& node) {
        auto const found = kImporters.find(node.op);
        if (found == kImporters.end()) return complain(index, node, "no importer for operator " + node.op);
        std::string const name = node.name.empty() ? node.op + "_" + std::to_string(index) : node.name;
        network_.layers.push_back(std::make_unique<Layer>(name, found->second));
    }

    void add_tensor(fake::Tensor const& tensor) {
        network_.tensors.push_back(tensor);
        auto& list = tensor.is_input ? network_.inputs : network_.outputs;
        list.push_back(std::make_unique<GraphTensor>(tensor));
    }

    static void check_externals(std::string const& path, Model const& model) {
        std::string const folder = path.substr(0, path.find_last_of('/') + 1);
        for (auto const& external : model.externals) {
            std::ifstream file(folder + external.location, std::ios::binary | std::ios::ate);
            if (!file) throw std::runtime_error("could not open external data " + folder + external.location);
            auto const size = static_cast<uint64_t>(file.tellg());
            if (external.offset + external.length > size) {
                throw std::runtime_error(external.location + " ends before the weights do");
            }
        }
    }

    NetworkTable& network_;
    ILogger* logger_;
    std::vector<std::unique_ptr<ParserError>> errors_;
};

// ---- profile and timing cache --------------------------------------------------------------------

class ProfileTable : public FakeVOptimizationProfile {
public:
    bool setDimensions(char const* name, OptProfileSelector select, DimsArgument dims) noexcept override {
        if (fails("setDimensions", nullptr)) return false;
        std::vector<int64_t> const sizes(dims.d, dims.d + dims.nbDims);
        auto& range = ranges[name];
        (select == OptProfileSelector::kMIN ? range.min : select == OptProfileSelector::kOPT ? range.opt : range.max) = sizes;
        return true;
    }

    std::map<std::string, Range> ranges;
};

using Profile = Object<IOptimizationProfile, ProfileTable>;

class CacheTable : public FakeVTimingCache {
public:
    explicit CacheTable(std::string text) : text(std::move(text)) {}
    IHostMemory* serialize() const noexcept override {
        return fails("serialize", nullptr) ? nullptr : new Memory(text);
    }
    // Grows with each build, so that a test sees whether it was kept.
    std::string text;
};

using Cache = Object<ITimingCache, CacheTable>;

// ---- config --------------------------------------------------------------------------------------

class ConfigTable : public FakeVBuilderConfig {
public:
    explicit ConfigTable(ILogger* logger) : logger_(logger) {}

    void setFlag(BuilderFlag flag) noexcept override { may_fall_back = may_fall_back || flag == BuilderFlag::kGPU_FALLBACK; }
    void setProfilingVerbosity(ProfilingVerbosity) noexcept override {}
    void setMemoryPoolLimit(MemoryPoolType, size_t bytes) noexcept override { workspace = bytes; }
#if NV_TENSORRT_MAJOR > 8 || NV_TENSORRT_MINOR >= 6
    void setBuilderOptimizationLevel(int32_t) noexcept override {}
#endif
    void setDefaultDeviceType(DeviceType type) noexcept override { on_dla = type == DeviceType::kDLA; }
    void setDLACore(int32_t core) noexcept override { dla_core = core; }
#if NV_TENSORRT_MAJOR >= 10
    void setProgressMonitor(IProgressMonitor* watching) noexcept override { monitor = watching; }
#endif

    bool canRunOnDLA(ILayer const* layer) const noexcept override {
        LayerType const type = layer->getType();
        return type == LayerType::kELEMENTWISE || type == LayerType::kACTIVATION || type == LayerType::kCONVOLUTION;
    }

    int32_t addOptimizationProfile(IOptimizationProfile const* profile) noexcept override {
        if (fails("addOptimizationProfile", logger_)) return -1;
        profiles.push_back(static_cast<Profile const*>(profile)->table.ranges);
        return static_cast<int32_t>(profiles.size()) - 1;
    }

    ITimingCache* createTimingCache(void const* blob, size_t size) const noexcept override {
        if (fails("createTimingCache", logger_)) return nullptr;
        std::string const text = blob == nullptr ? kCacheMagic + version_text() : std::string(static_cast<char const*>(blob), size);
        return new Cache(text);
    }

    bool setTimingCache(ITimingCache const& given, bool) noexcept override {
        if (fails("setTimingCache", logger_)) return false;
        auto const& text = static_cast<Cache const&>(given).table.text;
        if (text.rfind(kCacheMagic + version_text(), 0) != 0) {
            error(logger_, "fake: the timing cache is of another version");
            return false;
        }
        // TensorRT too writes into the cache that it was given.
        cache = const_cast<Cache*>(static_cast<Cache const*>(&given));
        return true;
    }

    ITimingCache const* getTimingCache() const noexcept override { return cache; }

    bool may_fall_back = false;
    bool on_dla = false;
    int32_t dla_core = 0;
    size_t workspace = 0;
#if NV_TENSORRT_MAJOR >= 10
    IProgressMonitor* monitor = nullptr;
#else
    void* monitor = nullptr;
#endif
    Cache* cache = nullptr;
    std::vector<std::map<std::string, Range>> profiles;

private:
    ILogger* logger_;
};

using Config = Object<IBuilderConfig, ConfigTable>;

// ---- builder -------------------------------------------------------------------------------------

class BuilderTable : public FakeVBuilder {
public:
    explicit BuilderTable(ILogger* logger) : logger_(logger) {}
    // Builders of TensorRT have fallen over when they went, with the plan long made.
    ~BuilderTable() override { fails("~IBuilder", logger_); }

    int32_t getNbDLACores() const noexcept override { return static_cast<int32_t>(number("dla_cores", 0)); }

    INetworkDefinition* createNetworkV2(NetworkDefinitionCreationFlags) noexcept override {
        return fails("createNetworkV2", logger_) ? nullptr : new Network();
    }
    IBuilderConfig* createBuilderConfig() noexcept override {
        return fails("createBuilderConfig", logger_) ? nullptr : new Config(logger_);
    }
    IOptimizationProfile* createOptimizationProfile() noexcept override {
        if (fails("createOptimizationProfile", logger_)) return nullptr;
        profiles_.push_back(std::make_unique<Profile>());
        return profiles_.back().get();
    }

    IHostMemory* buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& config) noexcept override {
        if (is_bogus("buildSerializedNetwork")) return bogus<IHostMemory>();
        if (fails("buildSerializedNetwork", logger_)) return nullptr;
        auto const& graph = static_cast<Network&>(network).table;
        auto& choices = static_cast<Config&>(config).table;
        try {
            check_device(graph, choices);
            check_profiles(graph, choices);
            if (!report(choices.monitor)) return nullptr;
            if (choices.cache != nullptr) choices.cache->table.text += "+";
            return new Memory(plan_of(graph, choices).to_text());
        } catch (std::exception const& exception) {
            error(logger_, std::string("fake builder: ") + exception.what());
            return nullptr;
        }
    }

private:
    static void check_device(NetworkTable const& graph, ConfigTable const& config) {
        if (!config.on_dla || config.may_fall_back) return;
        for (auto const& layer : graph.layers) {
            if (!config.canRunOnDLA(layer.get())) {
                throw std::runtime_error(std::string(layer->getName()) + " cannot run on DLA, and GPU fallback is not enabled");
            }
        }
    }

    static void check_profiles(NetworkTable const& graph, ConfigTable const& config) {
        for (auto const& tensor : graph.tensors) {
            bool is_dynamic = false;
            for (auto const& dim : tensor.dims) is_dynamic = is_dynamic || dim.size < 0;
            if (!tensor.is_input || !is_dynamic) continue;
            if (config.profiles.empty()) throw std::runtime_error("dynamic inputs, and no optimization profile");
            for (auto const& profile : config.profiles) {
                auto const found = profile.find(tensor.name);
                if (found == profile.end()) throw std::runtime_error("a profile lacks the dynamic input " + tensor.name);
                if (found->second.max.size() != tensor.dims.size()) {
                    throw std::runtime_error("a profile has another rank than the input " + tensor.name);
                }
            }
        }
    }

#if NV_TENSORRT_MAJOR >= 10
    // Two phases, one inside the other, as TensorRT's are. False: the user ended it.
    static bool report(IProgressMonitor* monitor) {
        if (monitor == nullptr) return true;
        auto const steps = static_cast<int32_t>(number("steps", 4));
        monitor->phaseStart("Building Engine", nullptr, 1);
        monitor->phaseStart("Timing", "Building Engine", steps);
        bool goes_on = true;
        for (int32_t step = 0; goes_on && step < steps; ++step) goes_on = monitor->stepComplete("Timing", step);
        monitor->phaseFinish("Timing");
        goes_on = goes_on && monitor->stepComplete("Building Engine", 0);
        monitor->phaseFinish("Building Engine");
        return goes_on;
    }
#else
    static bool report(void*) { return true; }
#endif

    static Plan plan_of(NetworkTable const& graph, ConfigTable const& config) {
        Plan plan;
        plan.version = version_text();
        plan.device = config.on_dla ? "dla" + std::to_string(config.dla_core) : "gpu";
        plan.tensors = graph.tensors;
        plan.profiles = config.profiles;
        if (plan.profiles.empty()) plan.profiles.resize(1);
        for (auto const& layer : graph.layers) plan.layers.push_back(layer->getName());
        return plan;
    }

    ILogger* logger_;
    std::vector<std::unique_ptr<Profile>> profiles_;
};

using Builder = Object<IBuilder, BuilderTable>;

}  // namespace

}  // namespace fake

extern "C" {

void* createInferBuilder_INTERNAL(void* logger, int32_t) noexcept {
    auto* const sink = static_cast<nvinfer1::ILogger*>(logger);
    fake::keep(sink);
    if (fake::is_bogus("createInferBuilder")) return fake::bogus<void>();
    return fake::fails("createInferBuilder", sink) ? nullptr : new fake::Builder(sink);
}

void* createNvOnnxParser_INTERNAL(void* network, void* logger, int) noexcept {
    auto* const sink = static_cast<nvinfer1::ILogger*>(logger);
    if (fake::fails("createNvOnnxParser", sink)) return nullptr;
    auto& graph = static_cast<fake::Network*>(static_cast<nvinfer1::INetworkDefinition*>(network))->table;
    return static_cast<nvonnxparser::IParser*>(new fake::Parser(graph, sink));
}

}  // extern "C"
