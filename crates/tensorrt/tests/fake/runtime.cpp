// The FAKE TensorRT's runtime, engine and execution context.

#include "fake.h"

#include <memory>
#include <mutex>
#include <set>

namespace fake {

namespace {

constexpr size_t kAlignment = 256;

nvinfer1::Dims to_dims(std::vector<int64_t> const& sizes) {
    nvinfer1::Dims dims{};
    dims.nbDims = static_cast<int32_t>(sizes.size());
    for (size_t axis = 0; axis < sizes.size(); ++axis) dims.d[axis] = sizes[axis];
    return dims;
}

nvinfer1::Dims const kUnknown{-1, {}};

// ---- captured graphs -----------------------------------------------------------------------------

// Stands for cudaStreamBeginCapture: runs are kept instead of done.
struct Graphs {
    std::mutex mutex;
    bool is_capturing = false;
    std::vector<std::function<bool()>> recorded;
    std::vector<std::vector<std::function<bool()>>> graphs;
};

Graphs& graphs() {
    static Graphs all;
    return all;
}

// ---- context -------------------------------------------------------------------------------------

class ContextTable : public FakeVExecutionContext {
public:
    ContextTable(std::shared_ptr<Plan const> plan, ILogger* logger) : plan_(std::move(plan)), logger_(logger) {}

    bool setOptimizationProfileAsync(int32_t index, cudaStream_t) noexcept override {
        if (fails("setOptimizationProfileAsync", logger_)) return false;
        if (index < 0 || index >= static_cast<int32_t>(plan_->profiles.size())) {
            return refuse("profile " + std::to_string(index) + " does not exist");
        }
        profile_ = static_cast<size_t>(index);
        given_.clear();
        ran_ = false;
        return true;
    }

    bool setInputShape(char const* name, Dims const& dims) noexcept override {
        if (fails("setInputShape", logger_)) return false;
        Tensor const* tensor = plan_->find(name);
        if (tensor == nullptr || !tensor->is_input) return refuse(std::string("no input ") + name);
        std::vector<int64_t> const sizes(dims.d, dims.d + dims.nbDims);
        if (!fits(*tensor, sizes)) return refuse(std::string(name) + ": the shape lies outside the profile");
        if (given_[name] != sizes) ran_ = false;
        given_[name] = sizes;
        return true;
    }

    Dims getTensorShape(char const* name) const noexcept override {
        Tensor const* tensor = plan_->find(name);
        if (tensor == nullptr) return kUnknown;
        std::string clash;
        auto const names = known_names(clash);
        return to_dims(resolved(*tensor, names));
    }

    bool setTensorAddress(char const* name, void* address) noexcept override {
        if (fails("setTensorAddress", logger_)) return false;
        if (plan_->find(name) == nullptr) return refuse(std::string("no tensor ") + name);
        if (reinterpret_cast<uintptr_t>(address) % kAlignment != 0) {
            return refuse(std::string(name) + ": the address is not aligned to 256 bytes");
        }
        bindings_.addresses[name] = address;
        return true;
    }

    void const* getTensorAddress(char const* name) const noexcept override {
        auto const found = bindings_.addresses.find(name);
        return found == bindings_.addresses.end() ? nullptr : found->second;
    }

    int32_t inferShapes(int32_t max, char const** names) noexcept override {
        if (fails("inferShapes", logger_)) return -1;
        auto const open = open_inputs();
        int32_t written = 0;
        for (auto const& name : open) {
            if (written < max) names[written++] = name->c_str();
        }
        std::string clash;
        known_names(clash);
        if (open.empty() && !clash.empty()) {
            refuse("inputs disagree about '" + clash + "'");
            return -1;
        }
        return static_cast<int32_t>(open.size());
    }

    bool enqueueV3(cudaStream_t) noexcept override {
        if (fails("enqueueV3", logger_)) return false;
        std::string clash;
        auto const names = known_names(clash);
        if (!open_inputs().empty()) return refuse("an input has no shape");
        if (!clash.empty()) return refuse("inputs disagree about '" + clash + "'");
        for (auto const& tensor : plan_->tensors) {
            if (getTensorAddress(tensor.name.c_str()) == nullptr) return refuse(tensor.name + " has no address");
            bindings_.shapes[tensor.name] = resolved(tensor, names);
        }
        std::lock_guard<std::mutex> lock(graphs().mutex);
        if (graphs().is_capturing) return record();
        ran_ = true;
        return run(bindings_);
    }

private:
    bool refuse(std::string const& text) const {
        error(logger_, "fake: " + text);
        return false;
    }

    bool record() {
        if (!ran_) return refuse("capturing without a run before it under this profile and these shapes");
        // The addresses of this moment are the graph's, as with CUDA.
        graphs().recorded.push_back([this, kept = bindings_] { return run(kept); });
        return true;
    }

    bool run(Bindings const& bindings) const {
        try {
            run_model(*plan_, bindings);
            return true;
        } catch (std::exception const& exception) {
            return refuse(exception.what());
        }
    }

    bool fits(Tensor const& tensor, std::vector<int64_t> const& sizes) const {
        if (sizes.size() != tensor.dims.size()) return false;
        auto const& ranges = plan_->profiles[profile_];
        auto const range = ranges.find(tensor.name);
        for (size_t axis = 0; axis < sizes.size(); ++axis) {
            int64_t const fixed = tensor.dims[axis].size;
            int64_t const low = fixed >= 0 || range == ranges.end() ? fixed : range->second.min[axis];
            int64_t const high = fixed >= 0 || range == ranges.end() ? fixed : range->second.max[axis];
            if (sizes[axis] < low || sizes[axis] > high) return false;
        }
        return true;
    }

    std::vector<std::string const*> open_inputs() const {
        std::vector<std::string const*> open;
        for (auto const& tensor : plan_->tensors) {
            bool is_dynamic = false;
            for (auto const& dim : tensor.dims) is_dynamic = is_dynamic || dim.size < 0;
            if (tensor.is_input && is_dynamic && given_.count(tensor.name) == 0) open.push_back(&tensor.name);
        }
        return open;
    }

    // What the named dimensions are under the shapes given; `clash` names one that is two things.
    std::map<std::string, int64_t> known_names(std::string& clash) const {
        std::map<std::string, int64_t> names;
        for (auto const& entry : given_) {
            auto const& dims = plan_->find(entry.first)->dims;
            for (size_t axis = 0; axis < dims.size(); ++axis) {
                if (dims[axis].size >= 0) continue;
                auto const added = names.emplace(dims[axis].name, entry.second[axis]);
                if (!added.second && added.first->second != entry.second[axis]) clash = dims[axis].name;
            }
        }
        return names;
    }

    static std::vector<int64_t> resolved(Tensor const& tensor, std::map<std::string, int64_t> const& names) {
        std::vector<int64_t> sizes;
        for (auto const& dim : tensor.dims) {
            auto const found = names.find(dim.name);
            sizes.push_back(dim.size >= 0 ? dim.size : found == names.end() ? -1 : found->second);
        }
        return sizes;
    }

    std::shared_ptr<Plan const> plan_;
    ILogger* logger_;
    size_t profile_ = 0;
    std::map<std::string, std::vector<int64_t>> given_;
    Bindings bindings_;
    // Whether there was a run under the present profile and shapes.
    bool ran_ = false;
};

class Context final : public IExecutionContext {
public:
    Context(std::shared_ptr<Plan const> plan, ILogger* logger) : table_(std::move(plan), logger) { mImpl = &table_; }

private:
    ContextTable table_;
};

// ---- inspector -----------------------------------------------------------------------------------

class InspectorTable : public FakeVEngineInspector {
public:
    InspectorTable(Plan const& plan, ILogger* logger) : logger_(logger) {
        text_ = "{\"Layers\": [";
        for (auto const& layer : plan.layers) text_ += (text_.back() == '[' ? "\"" : ", \"") + layer + "\"";
        text_ += "], \"Fake\": true}";
    }

    char const* getEngineInformation(LayerInformationFormat) const noexcept override {
        return fails("getEngineInformation", logger_) ? nullptr : text_.c_str();
    }

private:
    ILogger* logger_;
    std::string text_;
};

class Inspector final : public IEngineInspector {
public:
    Inspector(Plan const& plan, ILogger* logger) : table_(plan, logger) { mImpl = &table_; }

private:
    InspectorTable table_;
};

// ---- engine --------------------------------------------------------------------------------------

class EngineTable : public FakeVCudaEngine {
public:
    EngineTable(std::shared_ptr<Plan const> plan, ILogger* logger) : plan_(std::move(plan)), logger_(logger) {}

    int32_t getNbIOTensors() const noexcept override { return static_cast<int32_t>(plan_->tensors.size()); }
    char const* getIOTensorName(int32_t index) const noexcept override {
        return plan_->tensors[static_cast<size_t>(index)].name.c_str();
    }
    TensorIOMode getTensorIOMode(char const* name) const noexcept override {
        return plan_->find(name)->is_input ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    DataType getTensorDataType(char const* name) const noexcept override { return plan_->find(name)->type; }
    TensorLocation getTensorLocation(char const*) const noexcept override { return TensorLocation::kDEVICE; }
    Dims getTensorShape(char const* name) const noexcept override { return plan_->find(name)->shape(); }
    int32_t getNbOptimizationProfiles() const noexcept override { return static_cast<int32_t>(plan_->profiles.size()); }
#if NV_TENSORRT_MAJOR > 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR >= 1)
    int64_t getDeviceMemorySizeV2() const noexcept override { return number("device_memory", 1 << 20); }
#else
    size_t getDeviceMemorySize() const noexcept override { return static_cast<size_t>(number("device_memory", 1 << 20)); }
#endif

    Dims getProfileShape(char const* name, int32_t profile, OptProfileSelector select) const noexcept override {
        auto const& ranges = plan_->profiles[static_cast<size_t>(profile)];
        auto const found = ranges.find(name);
        if (found == ranges.end()) return plan_->find(name)->shape();
        auto const& range = found->second;
        bool const is_min = select == OptProfileSelector::kMIN;
        return to_dims(is_min ? range.min : select == OptProfileSelector::kOPT ? range.opt : range.max);
    }

#if NV_TENSORRT_MAJOR >= 10
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy) noexcept override {
#else
    IExecutionContext* createExecutionContext() noexcept override {
#endif
        if (is_bogus("createExecutionContext")) return bogus<IExecutionContext>();
        return fails("createExecutionContext", logger_) ? nullptr : new Context(plan_, logger_);
    }

    IEngineInspector* createEngineInspector() const noexcept override {
        return fails("createEngineInspector", logger_) ? nullptr : new Inspector(*plan_, logger_);
    }

private:
    std::shared_ptr<Plan const> plan_;
    ILogger* logger_;
};

class Engine final : public ICudaEngine {
public:
    Engine(std::shared_ptr<Plan const> plan, ILogger* logger) : table_(std::move(plan), logger) { mImpl = &table_; }

private:
    EngineTable table_;
};

// ---- runtime -------------------------------------------------------------------------------------

class RuntimeTable : public FakeVRuntime {
public:
    explicit RuntimeTable(ILogger* logger) : logger_(logger) {}

    int32_t getNbDLACores() const noexcept override { return static_cast<int32_t>(number("dla_cores", 0)); }
    void setDLACore(int32_t core) noexcept override { core_ = core; }

    ICudaEngine* deserializeCudaEngine(void const* blob, size_t size PLUGIN_FACTORY_OF_8) noexcept override {
        if (is_bogus("deserializeCudaEngine")) return bogus<ICudaEngine>();
        if (fails("deserializeCudaEngine", logger_)) return nullptr;
        try {
            auto plan = std::make_shared<Plan>(Plan::from_text({static_cast<char const*>(blob), size}));
            if (plan->device != "gpu" && getNbDLACores() == 0) {
                throw std::runtime_error("the plan is for " + plan->device + ", and there is no DLA core");
            }
            return new Engine(plan, logger_);
        } catch (std::exception const& exception) {
            error(logger_, std::string("fake: ") + exception.what());
            return nullptr;
        }
    }

private:
    ILogger* logger_;
    int32_t core_ = -1;
};

class Runtime final : public IRuntime {
public:
    explicit Runtime(ILogger* logger) : table_(logger) { mImpl = &table_; }

private:
    RuntimeTable table_;
};

}  // namespace

}  // namespace fake

extern "C" {

void* createInferRuntime_INTERNAL(void* logger, int32_t) noexcept {
    auto* const sink = static_cast<nvinfer1::ILogger*>(logger);
    fake::keep(sink);
    fake::log(sink, nvinfer1::ILogger::Severity::kINFO, "this is the fake TensorRT");
    if (fake::is_bogus("createInferRuntime")) return fake::bogus<void>();
    return fake::fails("createInferRuntime", sink) ? nullptr : new fake::Runtime(sink);
}

// The fake's cudaStreamBeginCapture, for all streams at once.
void hymt_fake_begin_capture() {
    std::lock_guard<std::mutex> lock(fake::graphs().mutex);
    fake::graphs().is_capturing = true;
    fake::graphs().recorded.clear();
}

// The number of the graph for hymt_fake_launch.
int64_t hymt_fake_end_capture() {
    std::lock_guard<std::mutex> lock(fake::graphs().mutex);
    fake::graphs().is_capturing = false;
    fake::graphs().graphs.push_back(fake::graphs().recorded);
    return static_cast<int64_t>(fake::graphs().graphs.size()) - 1;
}

// Does what was captured; the contexts are still there. 1 if all went well.
int32_t hymt_fake_launch(int64_t graph) {
    std::lock_guard<std::mutex> lock(fake::graphs().mutex);
    if (graph < 0 || graph >= static_cast<int64_t>(fake::graphs().graphs.size())) return 0;
    for (auto const& run : fake::graphs().graphs[static_cast<size_t>(graph)]) {
        if (!run()) return 0;
    }
    return 1;
}

}  // extern "C"
