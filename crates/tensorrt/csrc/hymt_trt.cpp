// The C face of TensorRT (hymt_trt.h), compiled on the device against the headers that lie there.
//
// Written for 8.5, 8.6, 10.x and 11.x; what differs between them stands in #if blocks, and nothing of
// it reaches the C face. Nothing is linked: libnvinfer, libnvonnxparser and the CUDA driver are opened
// by path, so that one program starts on machines without them and says what is missing.
//
// The traps this file stands in front of:
//  - Without CUDA, TensorRT 11 "creates" a runtime at address 0x228, and the first call on it ends the
//    process. So CUDA is initialised first, and a pointer below 4096 is never believed.
//  - Tables of virtual functions move between majors and grow within one. So another major is refused,
//    and so is a library older than the headers.
//  - Destructors and threads of TensorRT run late. So nothing is ever dlclosed, and no logger destroyed.

#include "hymt_trt.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <dlfcn.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define TRT_AT_LEAST(major, minor) \
    (NV_TENSORRT_MAJOR > (major) || (NV_TENSORRT_MAJOR == (major) && NV_TENSORRT_MINOR >= (minor)))

#if !TRT_AT_LEAST(8, 5)
#error "TensorRT 8.5 (JetPack 5.1) or newer is needed: older ones have no enqueueV3"
#endif

namespace {

using Severity = nvinfer1::ILogger::Severity;

// TensorRT repeats itself; the first lines say what went wrong.
constexpr size_t kLoggedBytesMax = 1200;
// No object lies in the first page; what points there is the result of arithmetic on null.
constexpr uintptr_t kFirstValidAddress = 4096;

// ---- errors --------------------------------------------------------------------------------------

// What a call ends with; caught in `guarded`.
struct Failure {
    int32_t code;
    std::string text;
};

[[noreturn]] void fail(int32_t code, std::string text) { throw Failure{code, std::move(text)}; }

// Cuts between characters, not inside one.
void write_error(hymt_trt_error* error, int32_t code, std::string const& text) noexcept {
    if (error == nullptr) return;
    error->code = code;
    size_t length = text.size();
    if (length >= sizeof error->text) {
        length = sizeof error->text - 1;
        while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
    }
    std::memcpy(error->text, text.data(), length);
    error->text[length] = '\0';
}

template <typename Body>
int32_t guarded(hymt_trt_error* error, Body&& body) noexcept {
    try {
        body();
        return HYMT_TRT_OK;
    } catch (Failure const& failure) {
        write_error(error, failure.code, failure.text);
        return failure.code;
    } catch (std::exception const& exception) {
        write_error(error, HYMT_TRT_EXCEPTION, exception.what());
    } catch (...) {
        write_error(error, HYMT_TRT_EXCEPTION, "an exception that is no std::exception");
    }
    return HYMT_TRT_EXCEPTION;
}

template <typename T>
T& require(T* pointer, char const* what) {
    if (pointer == nullptr) fail(HYMT_TRT_ARGUMENT, std::string(what) + " is null");
    return *pointer;
}

void require_index(int32_t index, int32_t count, char const* what) {
    if (index >= 0 && index < count) return;
    fail(HYMT_TRT_ARGUMENT, std::string(what) + " " + std::to_string(index) + " of " + std::to_string(count));
}

// ---- the log -------------------------------------------------------------------------------------

// Forwards to the callback of the library that has it, and keeps the errors of the present call for its
// error text.
class Logger final : public nvinfer1::ILogger {
public:
    void attach(hymt_trt_log_fn forward, void* user) {
        std::lock_guard<std::mutex> lock(mutex_);
        forward_ = forward;
        user_ = user;
        errors_.clear();
    }

    // Returns when nobody is in the callback any more, so that what it was given may go.
    void detach() noexcept {
        std::unique_lock<std::mutex> lock(mutex_);
        forward_ = nullptr;
        idle_.wait(lock, [this] { return running_ == 0; });
    }

    void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override {
        char const* text = message == nullptr ? "" : message;
        if (severity <= Severity::kERROR) keep(text);
        std::unique_lock<std::mutex> lock(mutex_);
        if (forward_ == nullptr) return;
        hymt_trt_log_fn const forward = forward_;
        void* const user = user_;
        ++running_;
        // Several threads log at once.
        lock.unlock();
        forward(user, static_cast<int32_t>(severity), text);
        lock.lock();
        if (--running_ == 0) idle_.notify_all();
    }

    void begin() {
        std::lock_guard<std::mutex> lock(mutex_);
        errors_.clear();
    }

    // `text`, followed by what was logged since `begin`.
    std::string explain(std::string text) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!errors_.empty()) text += ": " + errors_;
        return text;
    }

private:
    void keep(char const* text) noexcept {
        try {
            std::lock_guard<std::mutex> lock(mutex_);
            if (errors_.size() >= kLoggedBytesMax) return;
            if (!errors_.empty()) errors_ += "; ";
            errors_.append(text, strnlen(text, kLoggedBytesMax - errors_.size()));
        } catch (...) {
            // Out of memory while writing an error down: the callback still gets it.
        }
    }

    std::mutex mutex_;
    std::condition_variable idle_;
    hymt_trt_log_fn forward_ = nullptr;
    void* user_ = nullptr;
    int running_ = 0;
    std::string errors_;
};

// TensorRT keeps the first logger that it is given for what belongs to no object, and its threads and
// destructors log when everybody thinks that they are done. So no logger is ever destroyed: that of a
// closed library is deaf, and the next library takes it.
struct IdleLoggers {
    std::mutex mutex;
    std::vector<Logger*> all;
};

IdleLoggers& idle_loggers() {
    // Never destroyed either: what logs may outlive static objects.
    static IdleLoggers* const loggers = new IdleLoggers;
    return *loggers;
}

struct Retire {
    void operator()(Logger* logger) const noexcept {
        logger->detach();
        try {
            std::lock_guard<std::mutex> lock(idle_loggers().mutex);
            idle_loggers().all.push_back(logger);
        } catch (...) {
            // Out of memory: it stays deaf for good.
        }
    }
};

using OwnedLogger = std::unique_ptr<Logger, Retire>;

OwnedLogger take_logger(hymt_trt_log_fn forward, void* user) {
    OwnedLogger logger;
    {
        std::lock_guard<std::mutex> lock(idle_loggers().mutex);
        auto& idle = idle_loggers().all;
        if (!idle.empty()) {
            logger.reset(idle.back());
            idle.pop_back();
        }
    }
    if (logger == nullptr) logger.reset(new Logger);
    logger->attach(forward, user);
    return logger;
}

// ---- dynamic libraries ---------------------------------------------------------------------------

// The loader's reason, after the path: the file it misses may be another one, which this one needs.
std::string loader_reason(char const* path) {
    char const* reason = dlerror();
    std::string const text = reason == nullptr ? "dlopen failed" : reason;
    return text.rfind(path, 0) == 0 ? text : std::string(path) + ": " + text;
}

void* open_library(char const* path) {
    void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) fail(HYMT_TRT_LIBRARY_MISSING, loader_reason(path));
    return handle;
}

template <typename F>
F* find_symbol(void* handle, char const* name) noexcept {
    return reinterpret_cast<F*>(dlsym(handle, name));
}

template <typename F>
F* require_symbol(void* handle, char const* path, char const* name) {
    F* symbol = find_symbol<F>(handle, name);
    if (symbol == nullptr) fail(HYMT_TRT_SYMBOL_MISSING, std::string(path) + " has no " + name);
    return symbol;
}

using VersionFn = int32_t();
using CreateFn = void*(void*, int32_t);
using CreateParserFn = void*(void*, void*, int);

hymt_trt_version version_of(void* handle, char const* path) {
    int32_t const packed = require_symbol<VersionFn>(handle, path, "getInferLibVersion")();
    // 8502 is 8.5.2; from 10 on, 100300 is 10.3.0.
    int32_t const scale = packed < 10000 ? 1000 : 10000;
    hymt_trt_version version{packed / scale, packed % scale / 100, packed % 100, 0};
    if (VersionFn* build = find_symbol<VersionFn>(handle, "getInferLibBuildVersion")) version.build = build();
    return version;
}

std::string show(hymt_trt_version const& version) {
    return std::to_string(version.major) + "." + std::to_string(version.minor) + "." + std::to_string(version.patch);
}

hymt_trt_version headers() { return {NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH, NV_TENSORRT_BUILD}; }

void check_version(hymt_trt_version const& found, char const* path) {
    hymt_trt_version const built = headers();
    if (found.major == built.major && found.minor >= built.minor) return;
    char const* why = found.major != built.major ? "another major version" : "older than the headers";
    fail(HYMT_TRT_WRONG_VERSION, std::string(path) + " is TensorRT " + show(found) + ", built for " + show(built) +
                                     ": " + why);
}

}  // namespace

// ---- handles -------------------------------------------------------------------------------------

struct hymt_trt_library {
    std::string path;
    std::string parser_path;
    std::string cuda_path;
    void* nvinfer = nullptr;
    void* parser = nullptr;
    OwnedLogger logger;
};

struct hymt_trt_runtime {
    hymt_trt_library* library;
    std::unique_ptr<nvinfer1::IRuntime> it;
};

struct hymt_trt_engine {
    hymt_trt_library* library;
    std::unique_ptr<nvinfer1::ICudaEngine> it;
    std::vector<std::string> names;
};

struct hymt_trt_context {
    hymt_trt_engine const* engine;
    std::unique_ptr<nvinfer1::IExecutionContext> it;
    // Addresses are never taken back, so that they are looked through until all are there.
    bool all_bound = false;
};

struct hymt_trt_builder {
    hymt_trt_library* library;
    std::unique_ptr<nvinfer1::IBuilder> it;
};

struct hymt_trt_network {
    hymt_trt_library* library;
    std::unique_ptr<nvinfer1::INetworkDefinition> it;
    // Holds the weights of the network, and so dies before it but not earlier.
    std::unique_ptr<nvonnxparser::IParser> parser;
    std::string kind;
};

struct hymt_trt_profile {
    nvinfer1::IOptimizationProfile* it;
};

struct hymt_trt_bytes {
    std::unique_ptr<nvinfer1::IHostMemory> memory;
    std::string text;
};

namespace {

#if TRT_AT_LEAST(10, 0)
// Turns TensorRT's three calls into one, and remembers that the user ended the build.
class Monitor final : public nvinfer1::IProgressMonitor {
public:
    Monitor(hymt_trt_progress_fn report, void* user) : report_(report), user_(user) {}

    void phaseStart(char const* name, char const* parent, int32_t steps) noexcept override {
        try {
            std::lock_guard<std::mutex> lock(mutex_);
            phases_[name] = Phase{parent == nullptr ? "" : parent, steps};
        } catch (...) {
            // The phase is then reported without its parent.
        }
        tell(name, 0, false);
    }

    bool stepComplete(char const* name, int32_t step) noexcept override { return tell(name, step + 1, false); }

    void phaseFinish(char const* name) noexcept override {
        tell(name, -1, true);
        std::lock_guard<std::mutex> lock(mutex_);
        phases_.erase(name);
    }

    void begin() { cancelled_ = false; }
    bool cancelled() const { return cancelled_; }

private:
    struct Phase {
        std::string parent;
        int32_t steps;
    };

    bool tell(char const* name, int32_t step, bool finished) noexcept {
        Phase phase{"", 0};
        try {
            std::lock_guard<std::mutex> lock(mutex_);
            auto const found = phases_.find(name);
            if (found != phases_.end()) phase = found->second;
        } catch (...) {
        }
        hymt_trt_progress progress{name, phase.parent.c_str(), finished ? phase.steps : step, phase.steps, finished};
        if (report_(user_, &progress) == 0) cancelled_ = true;
        return !cancelled_;
    }

    hymt_trt_progress_fn report_;
    void* user_;
    std::mutex mutex_;
    std::map<std::string, Phase> phases_;
    std::atomic<bool> cancelled_{false};
};
#else
// 8.x builds without saying how far it is.
class Monitor final {
public:
    void begin() {}
    bool cancelled() const { return false; }
};
#endif

}  // namespace

struct hymt_trt_config {
    hymt_trt_builder* builder;
    // Both are used by the config, and are destroyed after it.
    std::unique_ptr<Monitor> monitor;
    std::unique_ptr<nvinfer1::ITimingCache> timing_cache;
    std::unique_ptr<nvinfer1::IBuilderConfig> it;
};

namespace {

// ---- conversions ---------------------------------------------------------------------------------

hymt_trt_dims from_trt(nvinfer1::Dims const& dims) {
    hymt_trt_dims result{};
    result.rank = dims.nbDims < 0 || dims.nbDims > HYMT_TRT_RANK_MAX ? -1 : dims.nbDims;
    for (int32_t axis = 0; axis < result.rank; ++axis) result.sizes[axis] = dims.d[axis];
    return result;
}

nvinfer1::Dims to_trt(hymt_trt_dims const& dims) {
    if (dims.rank < 0 || dims.rank > HYMT_TRT_RANK_MAX) {
        fail(HYMT_TRT_ARGUMENT, "a shape of " + std::to_string(dims.rank) + " dimensions");
    }
    nvinfer1::Dims result{};
    result.nbDims = dims.rank;
    for (int32_t axis = 0; axis < dims.rank; ++axis) {
        // 8.x counts in 32 bits.
        if (dims.sizes[axis] < 0 || dims.sizes[axis] > INT32_MAX) {
            fail(HYMT_TRT_ARGUMENT, "a dimension of " + std::to_string(dims.sizes[axis]));
        }
        result.d[axis] = static_cast<int32_t>(dims.sizes[axis]);
    }
    return result;
}

std::string show(hymt_trt_dims const& dims) {
    std::string text = "[";
    for (int32_t axis = 0; axis < dims.rank; ++axis) {
        text += (axis == 0 ? "" : ", ") + std::to_string(dims.sizes[axis]);
    }
    return text + "]";
}

int32_t from_trt(nvinfer1::DataType type) {
    using nvinfer1::DataType;
    switch (type) {
    case DataType::kFLOAT: return HYMT_TRT_F32;
    case DataType::kHALF: return HYMT_TRT_F16;
    case DataType::kINT8: return HYMT_TRT_I8;
    case DataType::kINT32: return HYMT_TRT_I32;
    case DataType::kBOOL: return HYMT_TRT_BOOL;
    case DataType::kUINT8: return HYMT_TRT_U8;
#if TRT_AT_LEAST(8, 6)
    case DataType::kFP8: return HYMT_TRT_F8;
#endif
#if TRT_AT_LEAST(10, 0)
    case DataType::kBF16: return HYMT_TRT_BF16;
    case DataType::kINT64: return HYMT_TRT_I64;
    case DataType::kINT4: return HYMT_TRT_I4;
#endif
#if TRT_AT_LEAST(10, 8)
    case DataType::kFP4: return HYMT_TRT_F4;
#endif
    default: return HYMT_TRT_OTHER;
    }
}

// Names for people: ONNX operators and these are not the same, but close.
std::string kind_of(nvinfer1::LayerType type) {
    using nvinfer1::LayerType;
    switch (type) {
    case LayerType::kACTIVATION: return "Activation";
    case LayerType::kCONCATENATION: return "Concatenation";
    case LayerType::kELEMENTWISE: return "ElementWise";
    case LayerType::kUNARY: return "Unary";
    case LayerType::kSHUFFLE: return "Shuffle";
    case LayerType::kREDUCE: return "Reduce";
    case LayerType::kGATHER: return "Gather";
    case LayerType::kMATRIX_MULTIPLY: return "MatrixMultiply";
    case LayerType::kCONSTANT: return "Constant";
    case LayerType::kIDENTITY: return "Identity";
    case LayerType::kSLICE: return "Slice";
    case LayerType::kSHAPE: return "Shape";
    case LayerType::kSELECT: return "Select";
    case LayerType::kFILL: return "Fill";
    case LayerType::kSOFTMAX: return "SoftMax";
    case LayerType::kTOPK: return "TopK";
    case LayerType::kCONVOLUTION: return "Convolution";
    case LayerType::kSCALE: return "Scale";
    case LayerType::kQUANTIZE: return "Quantize";
    case LayerType::kDEQUANTIZE: return "Dequantize";
    case LayerType::kSCATTER: return "Scatter";
    case LayerType::kEINSUM: return "Einsum";
    case LayerType::kONE_HOT: return "OneHot";
    case LayerType::kNON_ZERO: return "NonZero";
#if TRT_AT_LEAST(8, 6)
    case LayerType::kCAST: return "Cast";
    case LayerType::kNORMALIZATION: return "Normalization";
#endif
#if TRT_AT_LEAST(10, 7)
    case LayerType::kSQUEEZE: return "Squeeze";
    case LayerType::kUNSQUEEZE: return "Unsqueeze";
#endif
    default: return "type " + std::to_string(static_cast<int32_t>(type));
    }
}

nvinfer1::OptProfileSelector bound_of(int32_t bound) {
    switch (bound) {
    case HYMT_TRT_MIN: return nvinfer1::OptProfileSelector::kMIN;
    case HYMT_TRT_OPT: return nvinfer1::OptProfileSelector::kOPT;
    case HYMT_TRT_MAX: return nvinfer1::OptProfileSelector::kMAX;
    default: fail(HYMT_TRT_ARGUMENT, "no bound " + std::to_string(bound));
    }
}

// ---- objects of TensorRT -------------------------------------------------------------------------

// A pointer that TensorRT returned, or the reason why it is none.
template <typename T>
T* believed(T* pointer, Logger& logger, int32_t code, char const* what) {
    if (pointer == nullptr) fail(code, logger.explain(std::string(what) + " returned null"));
    if (reinterpret_cast<uintptr_t>(pointer) < kFirstValidAddress) {
        char address[32];
        std::snprintf(address, sizeof address, "%#zx", reinterpret_cast<size_t>(pointer));
        fail(HYMT_TRT_BOGUS_POINTER, logger.explain(std::string(what) + " returned " + address + ", no object"));
    }
    return pointer;
}

// What driver and devices there are; counts them, or says which of the two is missing.
int32_t count_cuda_devices(hymt_trt_library const& library) {
    char const* path = library.cuda_path.c_str();
    void* driver = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (driver == nullptr) fail(HYMT_TRT_NO_CUDA, "no CUDA driver: " + loader_reason(path));
    auto* init = find_symbol<int(unsigned)>(driver, "cuInit");
    auto* count_devices = find_symbol<int(int*)>(driver, "cuDeviceGetCount");
    if (init == nullptr || count_devices == nullptr) {
        fail(HYMT_TRT_NO_CUDA, std::string(path) + " is no CUDA driver: it has no cuInit");
    }
    int status = init(0);
    int devices = 0;
    if (status == 0) status = count_devices(&devices);
    if (status != 0) {
        // 100 is CUDA_ERROR_NO_DEVICE.
        char const* hint = status == 100 ? " (no device)" : "";
        fail(HYMT_TRT_NO_CUDA, std::string(path) + ": CUDA error " + std::to_string(status) + hint);
    }
    if (devices < 1) fail(HYMT_TRT_NO_CUDA, std::string(path) + " counts no GPU");
    return devices;
}

hymt_trt_bytes* bytes_of(nvinfer1::IHostMemory* memory) {
    std::unique_ptr<nvinfer1::IHostMemory> owned(memory);
    auto bytes = std::make_unique<hymt_trt_bytes>();
    bytes->memory = std::move(owned);
    return bytes.release();
}

void require_dla_core(int32_t core, int32_t cores) {
    if (core >= 0 && core < cores) return;
    fail(HYMT_TRT_DLA_UNAVAILABLE,
         "DLA core " + std::to_string(core) + " was asked for; TensorRT counts " + std::to_string(cores));
}

void require_tensor(hymt_trt_engine const& engine, char const* name) {
    require(name, "the tensor's name");
    for (auto const& known : engine.names) {
        if (known == name) return;
    }
    fail(HYMT_TRT_TENSOR, std::string("the engine has no tensor '") + name + "'");
}

void require_input(hymt_trt_engine const& engine, char const* name) {
    require_tensor(engine, name);
    if (engine.it->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT) return;
    fail(HYMT_TRT_TENSOR, std::string("'") + name + "' is an output");
}

void set_flag(nvinfer1::IBuilderConfig& config, int32_t flag) {
    using nvinfer1::BuilderFlag;
    switch (flag) {
#if NV_TENSORRT_MAJOR < 11
    case HYMT_TRT_FLAG_FP16: return config.setFlag(BuilderFlag::kFP16);
    case HYMT_TRT_FLAG_INT8: return config.setFlag(BuilderFlag::kINT8);
#else
    case HYMT_TRT_FLAG_FP16:
    case HYMT_TRT_FLAG_INT8:
        fail(HYMT_TRT_UNSUPPORTED, "TensorRT 11 takes every type from the graph; it has no FP16 and no INT8 flag");
#endif
    case HYMT_TRT_FLAG_GPU_FALLBACK: return config.setFlag(BuilderFlag::kGPU_FALLBACK);
    case HYMT_TRT_FLAG_DETAILED_LAYERS:
        return config.setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);
    default: fail(HYMT_TRT_ARGUMENT, "no builder flag " + std::to_string(flag));
    }
}

uint32_t network_flags(bool strongly_typed) {
#if NV_TENSORRT_MAJOR >= 11
    if (!strongly_typed) fail(HYMT_TRT_UNSUPPORTED, "TensorRT 11 knows only strongly typed networks");
    return 0;
#elif NV_TENSORRT_MAJOR >= 10
    using nvinfer1::NetworkDefinitionCreationFlag;
    return strongly_typed ? 1U << static_cast<uint32_t>(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED) : 0;
#else
    if (strongly_typed) fail(HYMT_TRT_UNSUPPORTED, "TensorRT 8 knows no strongly typed networks");
    using nvinfer1::NetworkDefinitionCreationFlag;
    return 1U << static_cast<uint32_t>(NetworkDefinitionCreationFlag::kEXPLICIT_BATCH);
#endif
}

hymt_trt_tensor tensor_of(nvinfer1::ITensor const& tensor, int32_t mode) {
    hymt_trt_tensor result{};
    result.name = tensor.getName();
    result.mode = mode;
    result.dtype = from_trt(tensor.getType());
    result.on_host = tensor.isShapeTensor() ? 1 : 0;
    result.shape = from_trt(tensor.getDimensions());
    return result;
}

void require_ordered(char const* name, hymt_trt_dims const& min, hymt_trt_dims const& opt, hymt_trt_dims const& max) {
    bool fits = min.rank == opt.rank && opt.rank == max.rank;
    for (int32_t axis = 0; fits && axis < min.rank; ++axis) {
        fits = min.sizes[axis] <= opt.sizes[axis] && opt.sizes[axis] <= max.sizes[axis];
    }
    if (fits) return;
    fail(HYMT_TRT_TENSOR, std::string("profile of '") + name + "': " + show(min) + " <= " + show(opt) +
                              " <= " + show(max) + " does not hold");
}

// Names of the tensors that have no address yet, with commas.
std::string unbound(hymt_trt_context const& context) {
    std::string names;
    for (auto const& name : context.engine->names) {
        if (context.it->getTensorAddress(name.c_str()) == nullptr) names += (names.empty() ? "" : ", ") + name;
    }
    return names;
}

}  // namespace

extern "C" {

// ---- library -------------------------------------------------------------------------------------

int32_t hymt_trt_abi(void) { return HYMT_TRT_ABI; }

void hymt_trt_headers(hymt_trt_version* version) {
    if (version != nullptr) *version = headers();
}

int32_t hymt_trt_supports(int32_t capability) {
    switch (capability) {
    case HYMT_TRT_CAN_STRONGLY_TYPE: return TRT_AT_LEAST(10, 0);
    case HYMT_TRT_CAN_WEAKLY_TYPE: return NV_TENSORRT_MAJOR < 11;
    case HYMT_TRT_CAN_MONITOR: return TRT_AT_LEAST(10, 0);
    case HYMT_TRT_CAN_LEVEL: return TRT_AT_LEAST(8, 6);
    default: return 0;
    }
}

int32_t hymt_trt_open(hymt_trt_open_options const* options, hymt_trt_library** library, hymt_trt_version* version,
                      hymt_trt_error* error) {
    return guarded(error, [&] {
        require(options, "options");
        require(library, "library");
        require(options->nvinfer, "the path of libnvinfer");
        auto result = std::make_unique<hymt_trt_library>();
        result->path = options->nvinfer;
        result->cuda_path = options->cuda == nullptr ? "libcuda.so.1" : options->cuda;
        result->logger = take_logger(options->log, options->log_user);
        result->nvinfer = open_library(options->nvinfer);
        hymt_trt_version const found = version_of(result->nvinfer, options->nvinfer);
        if (version != nullptr) *version = found;
        check_version(found, options->nvinfer);
        if (options->onnx_parser != nullptr) {
            result->parser_path = options->onnx_parser;
            result->parser = open_library(options->onnx_parser);
            require_symbol<CreateParserFn>(result->parser, options->onnx_parser, "createNvOnnxParser_INTERNAL");
            // dlsym also looks into what the parser was linked with: the libnvinfer it will talk to.
            if (find_symbol<VersionFn>(result->parser, "getInferLibVersion") != nullptr) {
                hymt_trt_version const linked = version_of(result->parser, options->onnx_parser);
                if (version != nullptr) *version = linked;
                check_version(linked, options->onnx_parser);
                if (version != nullptr) *version = found;
            }
        }
        *library = result.release();
    });
}

void hymt_trt_close(hymt_trt_library* library) { delete library; }

int32_t hymt_trt_has_parser(hymt_trt_library const* library) {
    return library != nullptr && library->parser != nullptr ? 1 : 0;
}

int32_t hymt_trt_cuda_devices(hymt_trt_library* library, int32_t* devices, hymt_trt_error* error) {
    return guarded(error, [&] { require(devices, "devices") = count_cuda_devices(require(library, "library")); });
}

// ---- runtime -------------------------------------------------------------------------------------

int32_t hymt_trt_runtime_create(hymt_trt_library* library, hymt_trt_runtime** runtime, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(library, "library");
        require(runtime, "runtime");
        char const* const name = "createInferRuntime_INTERNAL";
        auto* create = require_symbol<CreateFn>(library->nvinfer, library->path.c_str(), name);
        count_cuda_devices(*library);
        library->logger->begin();
        auto* raw = static_cast<nvinfer1::IRuntime*>(create(library->logger.get(), NV_TENSORRT_VERSION));
        believed(raw, *library->logger, HYMT_TRT_REFUSED, name);
        std::unique_ptr<nvinfer1::IRuntime> owned(raw);
        *runtime = new hymt_trt_runtime{library, std::move(owned)};
    });
}

void hymt_trt_runtime_destroy(hymt_trt_runtime* runtime) { delete runtime; }

int32_t hymt_trt_runtime_dla_cores(hymt_trt_runtime* runtime, int32_t* cores, hymt_trt_error* error) {
    return guarded(error, [&] { require(cores, "cores") = require(runtime, "runtime").it->getNbDLACores(); });
}

int32_t hymt_trt_runtime_set_dla_core(hymt_trt_runtime* runtime, int32_t core, hymt_trt_error* error) {
    return guarded(error, [&] {
        require_dla_core(core, require(runtime, "runtime").it->getNbDLACores());
        runtime->it->setDLACore(core);
    });
}

int32_t hymt_trt_runtime_deserialise(hymt_trt_runtime* runtime, void const* plan, size_t bytes,
                                     hymt_trt_engine** engine, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(runtime, "runtime");
        require(engine, "engine");
        if (plan == nullptr || bytes == 0) fail(HYMT_TRT_PLAN, "the plan is empty");
        Logger& logger = *runtime->library->logger;
        logger.begin();
        auto* raw = runtime->it->deserializeCudaEngine(plan, bytes);
        std::unique_ptr<nvinfer1::ICudaEngine> owned(
            believed(raw, logger, HYMT_TRT_PLAN, "deserializeCudaEngine"));
        auto result = std::make_unique<hymt_trt_engine>();
        result->library = runtime->library;
        int32_t const count = owned->getNbIOTensors();
        for (int32_t index = 0; index < count; ++index) {
            result->names.emplace_back(&require(owned->getIOTensorName(index), "the name of an I/O tensor"));
        }
        result->it = std::move(owned);
        *engine = result.release();
    });
}

// ---- engine --------------------------------------------------------------------------------------

void hymt_trt_engine_destroy(hymt_trt_engine* engine) { delete engine; }

int32_t hymt_trt_engine_tensors(hymt_trt_engine const* engine, int32_t* count, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(count, "count") = static_cast<int32_t>(require(engine, "engine").names.size());
    });
}

int32_t hymt_trt_engine_tensor(hymt_trt_engine const* engine, int32_t index, hymt_trt_tensor* tensor,
                               hymt_trt_error* error) {
    return guarded(error, [&] {
        require(engine, "engine");
        require(tensor, "tensor");
        require_index(index, static_cast<int32_t>(engine->names.size()), "tensor");
        char const* name = engine->names[static_cast<size_t>(index)].c_str();
        bool const is_input = engine->it->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        tensor->name = name;
        tensor->mode = is_input ? HYMT_TRT_INPUT : HYMT_TRT_OUTPUT;
        tensor->dtype = from_trt(engine->it->getTensorDataType(name));
        tensor->on_host = engine->it->getTensorLocation(name) == nvinfer1::TensorLocation::kHOST ? 1 : 0;
        tensor->shape = from_trt(engine->it->getTensorShape(name));
    });
}

int32_t hymt_trt_engine_profiles(hymt_trt_engine const* engine, int32_t* count, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(count, "count") = require(engine, "engine").it->getNbOptimizationProfiles();
    });
}

int32_t hymt_trt_engine_profile_shape(hymt_trt_engine const* engine, char const* name, int32_t profile,
                                      int32_t bound, hymt_trt_dims* shape, hymt_trt_error* error) {
    return guarded(error, [&] {
        require_input(require(engine, "engine"), name);
        require_index(profile, engine->it->getNbOptimizationProfiles(), "profile");
        require(shape, "shape") = from_trt(engine->it->getProfileShape(name, profile, bound_of(bound)));
    });
}

int32_t hymt_trt_engine_device_memory(hymt_trt_engine const* engine, int64_t* bytes, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(engine, "engine");
#if TRT_AT_LEAST(10, 1)
        require(bytes, "bytes") = engine->it->getDeviceMemorySizeV2();
#else
        require(bytes, "bytes") = static_cast<int64_t>(engine->it->getDeviceMemorySize());
#endif
    });
}

int32_t hymt_trt_engine_layers(hymt_trt_engine const* engine, hymt_trt_bytes** json, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(engine, "engine");
        require(json, "json");
        Logger& logger = *engine->library->logger;
        logger.begin();
        std::unique_ptr<nvinfer1::IEngineInspector> inspector(
            believed(engine->it->createEngineInspector(), logger, HYMT_TRT_REFUSED, "createEngineInspector"));
        char const* text = inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON);
        if (text == nullptr) fail(HYMT_TRT_REFUSED, logger.explain("getEngineInformation returned null"));
        auto bytes = std::make_unique<hymt_trt_bytes>();
        bytes->text = text;
        *json = bytes.release();
    });
}

// ---- context -------------------------------------------------------------------------------------

int32_t hymt_trt_context_create(hymt_trt_engine* engine, hymt_trt_context** context, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(engine, "engine");
        require(context, "context");
        Logger& logger = *engine->library->logger;
        logger.begin();
        std::unique_ptr<nvinfer1::IExecutionContext> owned(
            believed(engine->it->createExecutionContext(), logger, HYMT_TRT_REFUSED, "createExecutionContext"));
        *context = new hymt_trt_context{engine, std::move(owned)};
    });
}

void hymt_trt_context_destroy(hymt_trt_context* context) { delete context; }

int32_t hymt_trt_context_set_profile(hymt_trt_context* context, int32_t profile, void* stream,
                                     hymt_trt_error* error) {
    return guarded(error, [&] {
        require(context, "context");
        require_index(profile, context->engine->it->getNbOptimizationProfiles(), "profile");
        Logger& logger = *context->engine->library->logger;
        logger.begin();
        if (!context->it->setOptimizationProfileAsync(profile, static_cast<cudaStream_t>(stream))) {
            fail(HYMT_TRT_REFUSED, logger.explain("profile " + std::to_string(profile) + " was refused"));
        }
    });
}

int32_t hymt_trt_context_set_input_shape(hymt_trt_context* context, char const* name, hymt_trt_dims const* shape,
                                         hymt_trt_error* error) {
    return guarded(error, [&] {
        require(context, "context");
        require_input(*context->engine, name);
        Logger& logger = *context->engine->library->logger;
        logger.begin();
        if (!context->it->setInputShape(name, to_trt(require(shape, "shape")))) {
            fail(HYMT_TRT_TENSOR, logger.explain(std::string("'") + name + "' cannot have the shape " + show(*shape)));
        }
    });
}

int32_t hymt_trt_context_tensor_shape(hymt_trt_context const* context, char const* name, hymt_trt_dims* shape,
                                      hymt_trt_error* error) {
    return guarded(error, [&] {
        require(context, "context");
        require(shape, "shape");
        require_tensor(*context->engine, name);
        hymt_trt_dims const found = from_trt(context->it->getTensorShape(name));
        bool open = found.rank < 0;
        for (int32_t axis = 0; axis < found.rank; ++axis) open = open || found.sizes[axis] < 0;
        if (open) fail(HYMT_TRT_TENSOR, std::string("the shape of '") + name + "' is open: an input has none");
        *shape = found;
    });
}

int32_t hymt_trt_context_set_address(hymt_trt_context* context, char const* name, void* address,
                                     hymt_trt_error* error) {
    return guarded(error, [&] {
        require(context, "context");
        require_tensor(*context->engine, name);
        if (address == nullptr) fail(HYMT_TRT_TENSOR, std::string("the address of '") + name + "' is null");
        Logger& logger = *context->engine->library->logger;
        logger.begin();
        if (!context->it->setTensorAddress(name, address)) {
            fail(HYMT_TRT_TENSOR, logger.explain(std::string("the address of '") + name + "' was refused"));
        }
    });
}

int32_t hymt_trt_context_infer_shapes(hymt_trt_context* context, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(context, "context");
        Logger& logger = *context->engine->library->logger;
        logger.begin();
        std::vector<char const*> names(context->engine->names.size(), nullptr);
        int32_t const missing = context->it->inferShapes(static_cast<int32_t>(names.size()), names.data());
        if (missing == 0) return;
        if (missing < 0) fail(HYMT_TRT_TENSOR, logger.explain("the shapes do not fit together"));
        std::string text = "these inputs have no shape:";
        for (char const* name : names) {
            if (name != nullptr) text += std::string(" ") + name;
        }
        fail(HYMT_TRT_TENSOR, logger.explain(text));
    });
}

int32_t hymt_trt_context_enqueue(hymt_trt_context* context, void* stream, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(context, "context");
        if (!context->all_bound) {
            std::string const names = unbound(*context);
            if (!names.empty()) fail(HYMT_TRT_TENSOR, "these tensors have no address: " + names);
            context->all_bound = true;
        }
        Logger& logger = *context->engine->library->logger;
        logger.begin();
        if (!context->it->enqueueV3(static_cast<cudaStream_t>(stream))) {
            fail(HYMT_TRT_ENQUEUE, logger.explain("enqueueV3 failed"));
        }
    });
}

// ---- builder -------------------------------------------------------------------------------------

int32_t hymt_trt_builder_create(hymt_trt_library* library, hymt_trt_builder** builder, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(library, "library");
        require(builder, "builder");
        char const* const name = "createInferBuilder_INTERNAL";
        auto* create = require_symbol<CreateFn>(library->nvinfer, library->path.c_str(), name);
        count_cuda_devices(*library);
        library->logger->begin();
        auto* raw = static_cast<nvinfer1::IBuilder*>(create(library->logger.get(), NV_TENSORRT_VERSION));
        believed(raw, *library->logger, HYMT_TRT_REFUSED, name);
        std::unique_ptr<nvinfer1::IBuilder> owned(raw);
        *builder = new hymt_trt_builder{library, std::move(owned)};
    });
}

void hymt_trt_builder_destroy(hymt_trt_builder* builder) { delete builder; }

int32_t hymt_trt_builder_dla_cores(hymt_trt_builder* builder, int32_t* cores, hymt_trt_error* error) {
    return guarded(error, [&] { require(cores, "cores") = require(builder, "builder").it->getNbDLACores(); });
}

int32_t hymt_trt_network_create(hymt_trt_builder* builder, int32_t strongly_typed, hymt_trt_network** network,
                                hymt_trt_error* error) {
    return guarded(error, [&] {
        require(builder, "builder");
        require(network, "network");
        Logger& logger = *builder->library->logger;
        logger.begin();
        auto* raw = builder->it->createNetworkV2(network_flags(strongly_typed != 0));
        std::unique_ptr<nvinfer1::INetworkDefinition> owned(
            believed(raw, logger, HYMT_TRT_REFUSED, "createNetworkV2"));
        *network = new hymt_trt_network{builder->library, std::move(owned), nullptr, {}};
    });
}

void hymt_trt_network_destroy(hymt_trt_network* network) { delete network; }

int32_t hymt_trt_network_parse_file(hymt_trt_network* network, char const* path, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(network, "network");
        require(path, "path");
        hymt_trt_library& library = *network->library;
        if (library.parser == nullptr) fail(HYMT_TRT_LIBRARY_MISSING, "opened without libnvonnxparser");
        if (network->parser != nullptr) fail(HYMT_TRT_ARGUMENT, "this network was parsed already");
        char const* const name = "createNvOnnxParser_INTERNAL";
        auto* create = require_symbol<CreateParserFn>(library.parser, library.parser_path.c_str(), name);
        library.logger->begin();
        auto* raw = static_cast<nvonnxparser::IParser*>(
            create(network->it.get(), library.logger.get(), NV_ONNX_PARSER_VERSION));
        network->parser.reset(believed(raw, *library.logger, HYMT_TRT_REFUSED, name));
        if (network->parser->parseFromFile(path, static_cast<int>(Severity::kWARNING))) return;
        std::string text = std::string(path) + " was refused";
        if (network->parser->getNbErrors() > 0) {
            auto const* first = network->parser->getError(0);
            if (first != nullptr && first->desc() != nullptr) text += std::string(": ") + first->desc();
        }
        fail(HYMT_TRT_PARSE, library.logger->explain(text));
    });
}

int32_t hymt_trt_network_parser_errors(hymt_trt_network const* network, int32_t* count, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(network, "network");
        require(count, "count") = network->parser == nullptr ? 0 : network->parser->getNbErrors();
    });
}

int32_t hymt_trt_network_parser_error(hymt_trt_network const* network, int32_t index,
                                      hymt_trt_parser_error* parser_error, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(network, "network");
        require(parser_error, "parser_error");
        require_index(index, network->parser == nullptr ? 0 : network->parser->getNbErrors(), "parser error");
        auto const& found = require(network->parser->getError(index), "the parser's error");
        auto const text = [](char const* value) { return value == nullptr ? "" : value; };
        parser_error->code = static_cast<int32_t>(found.code());
        parser_error->node = found.node();
        parser_error->text = text(found.desc());
#if TRT_AT_LEAST(10, 0)
        parser_error->node_name = text(found.nodeName());
        parser_error->op = text(found.nodeOperator());
#else
        parser_error->node_name = "";
        parser_error->op = "";
#endif
    });
}

int32_t hymt_trt_network_layers(hymt_trt_network const* network, int32_t* count, hymt_trt_error* error) {
    return guarded(error, [&] { require(count, "count") = require(network, "network").it->getNbLayers(); });
}

int32_t hymt_trt_network_layer(hymt_trt_network* network, int32_t index, hymt_trt_layer* layer,
                               hymt_trt_error* error) {
    return guarded(error, [&] {
        require(network, "network");
        require(layer, "layer");
        require_index(index, network->it->getNbLayers(), "layer");
        auto const& found = require(network->it->getLayer(index), "the layer");
        network->kind = kind_of(found.getType());
        layer->name = found.getName();
        layer->kind = network->kind.c_str();
    });
}

int32_t hymt_trt_network_tensors(hymt_trt_network const* network, int32_t* count, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(network, "network");
        require(count, "count") = network->it->getNbInputs() + network->it->getNbOutputs();
    });
}

int32_t hymt_trt_network_tensor(hymt_trt_network const* network, int32_t index, hymt_trt_tensor* tensor,
                                hymt_trt_error* error) {
    return guarded(error, [&] {
        require(network, "network");
        require(tensor, "tensor");
        int32_t const inputs = network->it->getNbInputs();
        require_index(index, inputs + network->it->getNbOutputs(), "tensor");
        bool const is_input = index < inputs;
        auto const* found = is_input ? network->it->getInput(index) : network->it->getOutput(index - inputs);
        *tensor = tensor_of(require(found, "the tensor"), is_input ? HYMT_TRT_INPUT : HYMT_TRT_OUTPUT);
    });
}

int32_t hymt_trt_profile_create(hymt_trt_builder* builder, hymt_trt_profile** profile, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(builder, "builder");
        require(profile, "profile");
        Logger& logger = *builder->library->logger;
        logger.begin();
        auto* raw = believed(builder->it->createOptimizationProfile(), logger, HYMT_TRT_REFUSED,
                             "createOptimizationProfile");
        *profile = new hymt_trt_profile{raw};
    });
}

void hymt_trt_profile_destroy(hymt_trt_profile* profile) { delete profile; }

int32_t hymt_trt_profile_set_shape(hymt_trt_profile* profile, char const* name, hymt_trt_dims const* min,
                                   hymt_trt_dims const* opt, hymt_trt_dims const* max, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(profile, "profile");
        require(name, "the input's name");
        require_ordered(name, require(min, "min"), require(opt, "opt"), require(max, "max"));
        using nvinfer1::OptProfileSelector;
        bool const taken = profile->it->setDimensions(name, OptProfileSelector::kMIN, to_trt(*min)) &&
                           profile->it->setDimensions(name, OptProfileSelector::kOPT, to_trt(*opt)) &&
                           profile->it->setDimensions(name, OptProfileSelector::kMAX, to_trt(*max));
        if (!taken) fail(HYMT_TRT_TENSOR, std::string("the profile refused the shapes of '") + name + "'");
    });
}

int32_t hymt_trt_config_create(hymt_trt_builder* builder, hymt_trt_config** config, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(builder, "builder");
        require(config, "config");
        Logger& logger = *builder->library->logger;
        logger.begin();
        auto result = std::make_unique<hymt_trt_config>();
        result->builder = builder;
        result->it.reset(believed(builder->it->createBuilderConfig(), logger, HYMT_TRT_REFUSED,
                                  "createBuilderConfig"));
        *config = result.release();
    });
}

void hymt_trt_config_destroy(hymt_trt_config* config) { delete config; }

int32_t hymt_trt_config_set_flag(hymt_trt_config* config, int32_t flag, hymt_trt_error* error) {
    return guarded(error, [&] { set_flag(*require(config, "config").it, flag); });
}

int32_t hymt_trt_config_set_workspace(hymt_trt_config* config, size_t bytes, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(config, "config").it->setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, bytes);
    });
}

int32_t hymt_trt_config_set_level(hymt_trt_config* config, int32_t level, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(config, "config");
        if (level < 0 || level > 5) fail(HYMT_TRT_ARGUMENT, "optimisation level " + std::to_string(level) + " of 0 to 5");
#if TRT_AT_LEAST(8, 6)
        config->it->setBuilderOptimizationLevel(level);
#else
        fail(HYMT_TRT_UNSUPPORTED, "TensorRT 8.5 has no optimisation levels");
#endif
    });
}

int32_t hymt_trt_config_set_device(hymt_trt_config* config, int32_t device, int32_t dla_core, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(config, "config");
        if (device == HYMT_TRT_GPU) {
            config->it->setDefaultDeviceType(nvinfer1::DeviceType::kGPU);
        } else if (device == HYMT_TRT_DLA) {
            require_dla_core(dla_core, config->builder->it->getNbDLACores());
            config->it->setDefaultDeviceType(nvinfer1::DeviceType::kDLA);
            config->it->setDLACore(dla_core);
        } else {
            fail(HYMT_TRT_ARGUMENT, "no device " + std::to_string(device));
        }
    });
}

int32_t hymt_trt_config_layer_on_dla(hymt_trt_config const* config, hymt_trt_network const* network, int32_t index,
                                     int32_t* can, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(config, "config");
        require(network, "network");
        require_index(index, network->it->getNbLayers(), "layer");
        auto const& layer = require(network->it->getLayer(index), "the layer");
        require(can, "can") = config->it->canRunOnDLA(&layer) ? 1 : 0;
    });
}

int32_t hymt_trt_config_add_profile(hymt_trt_config* config, hymt_trt_profile const* profile, int32_t* index,
                                    hymt_trt_error* error) {
    return guarded(error, [&] {
        require(config, "config");
        require(profile, "profile");
        require(index, "index");
        Logger& logger = *config->builder->library->logger;
        logger.begin();
        int32_t const added = config->it->addOptimizationProfile(profile->it);
        if (added < 0) fail(HYMT_TRT_REFUSED, logger.explain("the profile was refused"));
        *index = added;
    });
}

int32_t hymt_trt_config_set_timing_cache(hymt_trt_config* config, void const* bytes, size_t length,
                                         hymt_trt_error* error) {
    return guarded(error, [&] {
        require(config, "config");
        Logger& logger = *config->builder->library->logger;
        logger.begin();
        std::unique_ptr<nvinfer1::ITimingCache> cache(
            believed(config->it->createTimingCache(bytes, length), logger, HYMT_TRT_REFUSED, "createTimingCache"));
        if (!config->it->setTimingCache(*cache, false)) {
            fail(HYMT_TRT_REFUSED, logger.explain("the timing cache was refused"));
        }
        config->timing_cache = std::move(cache);
    });
}

int32_t hymt_trt_config_timing_cache(hymt_trt_config const* config, hymt_trt_bytes** bytes, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(config, "config");
        require(bytes, "bytes");
        Logger& logger = *config->builder->library->logger;
        logger.begin();
        auto const* cache = config->it->getTimingCache();
        if (cache == nullptr) fail(HYMT_TRT_REFUSED, "the config has no timing cache");
        *bytes = bytes_of(believed(cache->serialize(), logger, HYMT_TRT_REFUSED, "ITimingCache::serialize"));
    });
}

int32_t hymt_trt_config_set_progress(hymt_trt_config* config, hymt_trt_progress_fn progress, void* user,
                                     hymt_trt_error* error) {
    return guarded(error, [&] {
        require(config, "config");
        if (progress == nullptr) fail(HYMT_TRT_ARGUMENT, "the progress callback is null");
#if TRT_AT_LEAST(10, 0)
        auto monitor = std::make_unique<Monitor>(progress, user);
        config->it->setProgressMonitor(monitor.get());
        config->monitor = std::move(monitor);
#else
        static_cast<void>(user);
        fail(HYMT_TRT_UNSUPPORTED, "TensorRT 8 has no progress monitor; its builds cannot be cancelled");
#endif
    });
}

int32_t hymt_trt_build(hymt_trt_builder* builder, hymt_trt_network* network, hymt_trt_config* config,
                       hymt_trt_bytes** plan, hymt_trt_error* error) {
    return guarded(error, [&] {
        require(builder, "builder");
        require(network, "network");
        require(config, "config");
        require(plan, "plan");
        Logger& logger = *builder->library->logger;
        logger.begin();
        if (config->monitor != nullptr) config->monitor->begin();
        auto* raw = builder->it->buildSerializedNetwork(*network->it, *config->it);
        if (raw == nullptr && config->monitor != nullptr && config->monitor->cancelled()) {
            fail(HYMT_TRT_CANCELLED, "the build was cancelled");
        }
        *plan = bytes_of(believed(raw, logger, HYMT_TRT_BUILD, "buildSerializedNetwork"));
    });
}

// ---- bytes ---------------------------------------------------------------------------------------

void const* hymt_trt_bytes_data(hymt_trt_bytes const* bytes) {
    if (bytes == nullptr) return nullptr;
    return bytes->memory != nullptr ? bytes->memory->data() : bytes->text.data();
}

size_t hymt_trt_bytes_size(hymt_trt_bytes const* bytes) {
    if (bytes == nullptr) return 0;
    return bytes->memory != nullptr ? bytes->memory->size() : bytes->text.size();
}

void hymt_trt_bytes_destroy(hymt_trt_bytes* bytes) { delete bytes; }

}  // extern "C"
