// The FAKE CUDA driver, as far as a program asks it which GPU there is, and for a context, which it never
// has. `HYMT_FAKE_GPU` names another GPU.

#include "fake.h"

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace {

// Numbers of cuda.h.
enum Attribute { kMultiprocessors = 16, kIntegrated = 18, kMajor = 75, kMinor = 76, kSharedOptIn = 97 };

}  // namespace

extern "C" {

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return 0;
}

int cuDeviceGetName(char *name, int bytes, int) {
    char const *given = std::getenv("HYMT_FAKE_GPU");
    std::snprintf(name, static_cast<size_t>(bytes), "%s", given == nullptr ? "Fake GPU" : given);
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case kMajor: *value = 8; return 0;
    case kMinor: *value = 7; return 0;
    case kMultiprocessors: *value = 8; return 0;
    case kSharedOptIn: *value = 163 << 10; return 0;
    case kIntegrated: *value = 1; return 0;
    default: return 1;
    }
}

int cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = size_t{8} << 30;
    return 0;
}

// 201 is CUDA_ERROR_INVALID_CONTEXT.
int cuDevicePrimaryCtxRetain(void **, int) { return static_cast<int>(fake::number("context_status", 201)); }

// It has no words for its errors; 1 is CUDA_ERROR_INVALID_VALUE.
int cuGetErrorName(int, char const **) { return 1; }
int cuGetErrorString(int, char const **) { return 1; }
}
