// Shared by the parts of the FAKE TensorRT: its switches, its plans, its arithmetic.
//
// This is a stand-in for tests: libnvinfer, libnvonnxparser and the CUDA driver in one file, on host
// memory. It checks what TensorRT checks (names, shapes against profiles, addresses, the order of
// calls) and computes something simple that depends on every value of the cache it should depend on.
// It proves nothing about TensorRT.
#pragma once

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

// What a function of ours overrides from TensorRT 10 on only, or in another form before.
#if NV_TENSORRT_MAJOR >= 10
#define FROM_10 override
#define PLUGIN_FACTORY_OF_8
using DimsArgument = nvinfer1::Dims const&;
#else
#define FROM_10
#define PLUGIN_FACTORY_OF_8 , nvinfer1::IPluginFactory*
using DimsArgument = nvinfer1::Dims;
#endif

namespace fake {

// ---- switches ------------------------------------------------------------------------------------

// Ends the process: the shim called a function that the fake does not have.
[[noreturn]] void never(char const* call);

// A number set by hymt_fake_set, or `otherwise`.
int64_t number(char const* key, int64_t otherwise);

// Whether this call is to fail, now; then it also logs why. Every call of the fake begins here.
bool fails(char const* call, nvinfer1::ILogger* logger);

void log(nvinfer1::ILogger* logger, nvinfer1::ILogger::Severity severity, std::string const& text);
void error(nvinfer1::ILogger* logger, std::string const& text);

// TensorRT keeps the first logger that it is given, for what belongs to no object.
void keep(nvinfer1::ILogger* logger);

// What a creator returns when it is to return the bogus pointer of a machine without CUDA.
template <typename T>
T* bogus() {
    return reinterpret_cast<T*>(0x228);
}
bool is_bogus(char const* call);

// ---- plans ---------------------------------------------------------------------------------------

// A dimension: a number, or a name that stands for one.
struct Dim {
    int64_t size = -1;
    std::string name;
};

struct Tensor {
    std::string name;
    bool is_input = false;
    nvinfer1::DataType type = nvinfer1::DataType::kFLOAT;
    std::vector<Dim> dims;

    nvinfer1::Dims shape() const;
};

struct Range {
    std::vector<int64_t> min, opt, max;
};

struct Plan {
    std::string version;
    std::string device = "gpu";
    std::vector<Tensor> tensors;
    std::vector<std::map<std::string, Range>> profiles;
    std::vector<std::string> layers;

    Tensor const* find(std::string const& name) const;
    std::string to_text() const;
    // Throws std::runtime_error with what is wrong.
    static Plan from_text(std::string const& text);
};

// The version that the fake says it is, as plans and caches carry it.
std::string version_text();

// ---- arithmetic ----------------------------------------------------------------------------------

// Where the tensors lie and how large they are, by name.
struct Bindings {
    std::map<std::string, void*> addresses;
    std::map<std::string, std::vector<int64_t>> shapes;
};

// One step of the fake language model. Throws std::runtime_error on what TensorRT would read outside
// its memory for.
void run_model(Plan const& plan, Bindings const& bindings);

}  // namespace fake

using fake::never;
#include "stubs.h"
