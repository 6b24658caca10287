// Switches of the FAKE TensorRT, its CUDA driver, and what it exports as libnvinfer.

#include "fake.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace {

std::mutex mutex;
nvinfer1::ILogger* first_logger = nullptr;

std::map<std::string, std::string>& switches() {
    static std::map<std::string, std::string> all;
    return all;
}

std::string text_of(char const* key) {
    std::lock_guard<std::mutex> lock(mutex);
    auto const found = switches().find(key);
    return found == switches().end() ? "" : found->second;
}

// "enqueueV3" or "enqueueV3@3": this call now, or the third from now.
bool is_due(char const* key, char const* call) {
    std::lock_guard<std::mutex> lock(mutex);
    auto const found = switches().find(key);
    if (found == switches().end()) return false;
    std::string const value = found->second;
    size_t const at = value.find('@');
    if (value.substr(0, at) != call) return false;
    long const left = at == std::string::npos ? 1 : std::strtol(value.c_str() + at + 1, nullptr, 10);
    if (left > 1) {
        found->second = std::string(call) + "@" + std::to_string(left - 1);
        return false;
    }
    switches().erase(found);
    return true;
}

// "key=value;key=value", so that a child process can be told too.
struct FromEnvironment {
    FromEnvironment() {
        char const* all = std::getenv("HYMT_FAKE_TENSORRT_SET");
        std::string rest = all == nullptr ? "" : all;
        while (!rest.empty()) {
            size_t const end = rest.find(';');
            std::string const one = rest.substr(0, end);
            size_t const equals = one.find('=');
            if (equals != std::string::npos) switches()[one.substr(0, equals)] = one.substr(equals + 1);
            rest = end == std::string::npos ? "" : rest.substr(end + 1);
        }
    }
} from_environment;

}  // namespace

namespace fake {

void never(char const* call) {
    std::fprintf(stderr, "the fake TensorRT has no %s\n", call);
    std::abort();
}

int64_t number(char const* key, int64_t otherwise) {
    std::string const value = text_of(key);
    return value.empty() ? otherwise : std::strtoll(value.c_str(), nullptr, 0);
}

void log(nvinfer1::ILogger* logger, nvinfer1::ILogger::Severity severity, std::string const& text) {
    if (logger != nullptr) logger->log(severity, text.c_str());
}

void error(nvinfer1::ILogger* logger, std::string const& text) {
    log(logger, nvinfer1::ILogger::Severity::kERROR, text);
}

void keep(nvinfer1::ILogger* logger) {
    std::lock_guard<std::mutex> lock(mutex);
    if (first_logger == nullptr) first_logger = logger;
}

bool fails(char const* call, nvinfer1::ILogger* logger) {
    // As the kernel's out-of-memory killer does it.
    if (is_due("kill", call)) std::raise(SIGKILL);
    if (!is_due("fail", call)) return false;
    std::string const why = text_of("fail_text");
    error(logger, "fake " + std::string(call) + ": " + (why.empty() ? "injected failure" : why));
    return true;
}

bool is_bogus(char const* call) { return is_due("bogus", call); }

std::string version_text() {
    auto const packed = number("version", NV_TENSORRT_VERSION);
    // 8502 is 8.5.2; from 10 on, 100300 is 10.3.0.
    auto const scale = packed < 10000 ? 1000 : 10000;
    return std::to_string(packed / scale) + "." + std::to_string(packed % scale / 100) + "." +
           std::to_string(packed % 100);
}

}  // namespace fake

extern "C" {

// Sets a switch; null takes it back. Keys: version, build, cuda_status, cuda_devices, context_status, dla_cores, steps
// (of a build's progress), fail and kill and bogus (a call), fail_text, throw.
void hymt_fake_set(char const* key, char const* value) {
    std::lock_guard<std::mutex> lock(mutex);
    if (value == nullptr) {
        switches().erase(key);
    } else {
        switches()[key] = value;
    }
}

void hymt_fake_reset() {
    std::lock_guard<std::mutex> lock(mutex);
    switches().clear();
    first_logger = nullptr;
}

// What a thread or a destructor of TensorRT says when the program is done with it.
void hymt_fake_log_late(char const* text) { fake::error(first_logger, text); }

int cuInit(unsigned) { return static_cast<int>(fake::number("cuda_status", 0)); }

int cuDeviceGetCount(int* count) {
    *count = static_cast<int>(fake::number("cuda_devices", 1));
    return 0;
}

int32_t getInferLibVersion() noexcept { return static_cast<int32_t>(fake::number("version", NV_TENSORRT_VERSION)); }
int32_t getInferLibBuildVersion() noexcept { return static_cast<int32_t>(fake::number("build", 0)); }
int getNvOnnxParserVersion() noexcept { return NV_ONNX_PARSER_VERSION; }

}  // extern "C"
