/* The C face of TensorRT that hymt uses.
 *
 * TensorRT offers C++ classes whose tables of virtual functions change with each major version. This
 * shim is compiled on the device against the headers that lie there (8.5, 8.6, 10.x or 11.x), and this
 * file is the same for all of them: opaque handles, plain C types, enumerations of our own.
 *
 * Rules that hold for every call:
 *
 *  - A call returns HYMT_TRT_OK or an error code, and then fills `error` (which may be null). Output
 *    parameters are written only on HYMT_TRT_OK. No C++ exception leaves the shim.
 *  - A null handle, a null output or an index out of range is HYMT_TRT_ARGUMENT, never a crash. A
 *    handle that was destroyed is the caller's fault.
 *  - `error->text` holds what the shim says, followed by what TensorRT wrote to the log at severity
 *    ERROR or worse during the call.
 *  - Handles are destroyed children first: context, engine, runtime, library; and network, config,
 *    profile, builder, library. A config outlives the builds that use it. Destroying null does nothing.
 *  - A handle may move between threads, but is used by one thread at a time. Of these, an engine may be
 *    read by many threads. The library handle may be shared.
 *  - Strings and pointers handed out live as long as the handle they came from, unless said otherwise.
 *  - A stream is a `cudaStream_t`, which is the driver's `CUstream`; null is the default stream. The
 *    caller has the CUDA context of the GPU current on the calling thread wherever a stream, a runtime
 *    or a build is involved.
 */
#ifndef HYMT_TRT_H
#define HYMT_TRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a signature or a number below changes; sys.rs refuses another one. */
#define HYMT_TRT_ABI 1
/* As many dimensions as TensorRT knows. */
#define HYMT_TRT_RANK_MAX 8
#define HYMT_TRT_TEXT_BYTES 2048

/* ---- errors ---------------------------------------------------------------------------------- */

enum hymt_trt_code {
    HYMT_TRT_OK = 0,
    /* A null handle, a null output, an index or a number out of range. */
    HYMT_TRT_ARGUMENT = 1,
    /* The file could not be opened; the text names the path and the loader's reason. */
    HYMT_TRT_LIBRARY_MISSING = 2,
    /* The file opened, but is not the library it should be; the text names the missing symbol. */
    HYMT_TRT_SYMBOL_MISSING = 3,
    /* Another major version than the headers, or an older minor version: the tables would not fit. */
    HYMT_TRT_WRONG_VERSION = 4,
    /* No driver, or no GPU. Asked before anything is created: TensorRT answers with a bogus pointer. */
    HYMT_TRT_NO_CUDA = 5,
    /* TensorRT returned a pointer below 4096 instead of an object. */
    HYMT_TRT_BOGUS_POINTER = 6,
    /* A DLA core that this board does not have. */
    HYMT_TRT_DLA_UNAVAILABLE = 7,
    /* The bytes are no plan for this version, this GPU or this runtime. */
    HYMT_TRT_PLAN = 8,
    /* No tensor of that name, a shape outside the profile, an address refused, an input left open. */
    HYMT_TRT_TENSOR = 9,
    /* enqueueV3 failed. */
    HYMT_TRT_ENQUEUE = 10,
    /* The ONNX file was refused; hymt_trt_network_parser_error has the details. */
    HYMT_TRT_PARSE = 11,
    /* The build failed. */
    HYMT_TRT_BUILD = 12,
    /* The build was ended by the progress callback. */
    HYMT_TRT_CANCELLED = 13,
    /* These headers have no such thing; the text names it. */
    HYMT_TRT_UNSUPPORTED = 14,
    /* TensorRT said no and gave no other class of reason. */
    HYMT_TRT_REFUSED = 15,
    /* A C++ exception, stopped here. */
    HYMT_TRT_EXCEPTION = 16
};

typedef struct hymt_trt_error {
    int32_t code; /* enum hymt_trt_code */
    char text[HYMT_TRT_TEXT_BYTES]; /* UTF-8, ends with NUL, cut where too long */
} hymt_trt_error;

/* ---- plain types ----------------------------------------------------------------------------- */

typedef struct hymt_trt_version {
    int32_t major;
    int32_t minor;
    int32_t patch;
    int32_t build; /* 0 where the version does not tell (8.x) */
} hymt_trt_version;

typedef struct hymt_trt_dims {
    int32_t rank; /* 0..=HYMT_TRT_RANK_MAX; -1 where TensorRT does not know the shape */
    int64_t sizes[HYMT_TRT_RANK_MAX]; /* -1 is dynamic; beyond `rank` 0 */
} hymt_trt_dims;

enum hymt_trt_severity {
    HYMT_TRT_INTERNAL_ERROR = 0,
    HYMT_TRT_ERROR = 1,
    HYMT_TRT_WARNING = 2,
    HYMT_TRT_INFO = 3,
    HYMT_TRT_VERBOSE = 4
};

enum hymt_trt_dtype {
    HYMT_TRT_F32 = 0,
    HYMT_TRT_F16 = 1,
    HYMT_TRT_I8 = 2,
    HYMT_TRT_I32 = 3,
    HYMT_TRT_BOOL = 4,
    HYMT_TRT_U8 = 5,
    HYMT_TRT_F8 = 6,
    HYMT_TRT_BF16 = 7,
    HYMT_TRT_I64 = 8,
    HYMT_TRT_I4 = 9,
    HYMT_TRT_F4 = 10,
    HYMT_TRT_OTHER = 255
};

enum hymt_trt_mode { HYMT_TRT_INPUT = 0, HYMT_TRT_OUTPUT = 1 };
enum hymt_trt_bound { HYMT_TRT_MIN = 0, HYMT_TRT_OPT = 1, HYMT_TRT_MAX = 2 };
enum hymt_trt_device { HYMT_TRT_GPU = 0, HYMT_TRT_DLA = 1 };

enum hymt_trt_flag {
    /* Weakly typed networks only: 8.x and 10.x. UNSUPPORTED from 11. */
    HYMT_TRT_FLAG_FP16 = 0,
    HYMT_TRT_FLAG_INT8 = 1,
    /* Layers that DLA cannot run go to the GPU, without a word: ask hymt_trt_config_layer_on_dla. */
    HYMT_TRT_FLAG_GPU_FALLBACK = 2,
    /* Layer names and formats stay in the plan, for hymt_trt_engine_layers. */
    HYMT_TRT_FLAG_DETAILED_LAYERS = 3
};

enum hymt_trt_capability {
    /* Networks whose types are exactly those of the graph: 10.x; always so from 11. */
    HYMT_TRT_CAN_STRONGLY_TYPE = 0,
    /* FLAG_FP16 and FLAG_INT8: up to 10.x. */
    HYMT_TRT_CAN_WEAKLY_TYPE = 1,
    /* Progress and cancelling: from 10. */
    HYMT_TRT_CAN_MONITOR = 2,
    /* Builder optimisation levels: from 8.6. */
    HYMT_TRT_CAN_LEVEL = 3
};

typedef struct hymt_trt_tensor {
    const char *name;
    int32_t mode; /* enum hymt_trt_mode */
    int32_t dtype; /* enum hymt_trt_dtype */
    int32_t on_host; /* 1: its address is host memory (shape tensors) */
    hymt_trt_dims shape; /* -1 where dynamic */
} hymt_trt_tensor;

typedef struct hymt_trt_layer {
    const char *name;
    const char *kind; /* "MatMul", "ElementWise", ...; "type 57" where these headers have no name */
} hymt_trt_layer;

typedef struct hymt_trt_parser_error {
    int32_t code; /* nvonnxparser::ErrorCode, for the log only */
    int32_t node; /* index in the ONNX graph, -1 where unknown */
    const char *node_name; /* "" where unknown (8.5) */
    const char *op; /* "" where unknown (8.5) */
    const char *text;
} hymt_trt_parser_error;

typedef struct hymt_trt_progress {
    const char *phase; /* lives during the callback only */
    const char *parent; /* "" for the outermost */
    int32_t step;
    int32_t steps; /* of this phase */
    int32_t finished; /* 1: the phase ends; `step` is then `steps` */
} hymt_trt_progress;

/* May come from any thread, also from several at once; must not call back into this library. The text
 * lives during the call only. */
typedef void (*hymt_trt_log_fn)(void *user, int32_t severity, const char *text);
/* Non-zero goes on, zero ends the build. Comes from the building thread or from one of TensorRT's. */
typedef int32_t (*hymt_trt_progress_fn)(void *user, const hymt_trt_progress *progress);

typedef struct hymt_trt_library hymt_trt_library;
typedef struct hymt_trt_runtime hymt_trt_runtime;
typedef struct hymt_trt_engine hymt_trt_engine;
typedef struct hymt_trt_context hymt_trt_context;
typedef struct hymt_trt_builder hymt_trt_builder;
typedef struct hymt_trt_network hymt_trt_network;
typedef struct hymt_trt_profile hymt_trt_profile;
typedef struct hymt_trt_config hymt_trt_config;
typedef struct hymt_trt_bytes hymt_trt_bytes;

/* ---- library --------------------------------------------------------------------------------- */

/* HYMT_TRT_ABI of the compiled shim. */
int32_t hymt_trt_abi(void);
/* The headers that the shim was compiled against. */
void hymt_trt_headers(hymt_trt_version *version);
/* 1 if the headers have the capability, 0 if not or if unknown. */
int32_t hymt_trt_supports(int32_t capability);

typedef struct hymt_trt_open_options {
    const char *nvinfer; /* path or name of libnvinfer, or of its lean runtime; required */
    const char *onnx_parser; /* of libnvonnxparser; null: plans can be run and not built */
    const char *cuda; /* of the driver; null: "libcuda.so.1" */
    hymt_trt_log_fn log; /* null: nothing is forwarded */
    void *log_user; /* used until hymt_trt_close returns, which waits for calls that are under way */
} hymt_trt_open_options;

/* Opens the libraries and holds the version against the headers; needs no GPU. The files stay mapped
 * until the process ends, because TensorRT leaves threads and destructors behind. LIBRARY_MISSING,
 * SYMBOL_MISSING, WRONG_VERSION; `text` begins with the file that is to blame. `version` is written as
 * soon as libnvinfer has told it, also when the call fails after that; with WRONG_VERSION it is that of
 * the file to blame. */
int32_t hymt_trt_open(const hymt_trt_open_options *options, hymt_trt_library **library,
                      hymt_trt_version *version, hymt_trt_error *error);
void hymt_trt_close(hymt_trt_library *library);
/* 1 if a parser was opened with the library. */
int32_t hymt_trt_has_parser(const hymt_trt_library *library);
/* Initialises the CUDA driver and counts its devices. NO_CUDA says what is missing. Runtimes and
 * builders do this themselves; the doctor asks it alone. */
int32_t hymt_trt_cuda_devices(hymt_trt_library *library, int32_t *devices, hymt_trt_error *error);

/* ---- runtime --------------------------------------------------------------------------------- */

/* NO_CUDA, BOGUS_POINTER, REFUSED. */
int32_t hymt_trt_runtime_create(hymt_trt_library *library, hymt_trt_runtime **runtime,
                                hymt_trt_error *error);
void hymt_trt_runtime_destroy(hymt_trt_runtime *runtime);
/* DLA cores of this board as TensorRT counts them; 0 on a desktop GPU. */
int32_t hymt_trt_runtime_dla_cores(hymt_trt_runtime *runtime, int32_t *cores, hymt_trt_error *error);
/* Where plans deserialised from now on run. DLA_UNAVAILABLE if the board has no such core. */
int32_t hymt_trt_runtime_set_dla_core(hymt_trt_runtime *runtime, int32_t core, hymt_trt_error *error);
/* Copies what it needs: `plan` may go afterwards. PLAN. */
int32_t hymt_trt_runtime_deserialise(hymt_trt_runtime *runtime, const void *plan, size_t bytes,
                                     hymt_trt_engine **engine, hymt_trt_error *error);

/* ---- engine ---------------------------------------------------------------------------------- */

void hymt_trt_engine_destroy(hymt_trt_engine *engine);
int32_t hymt_trt_engine_tensors(const hymt_trt_engine *engine, int32_t *count, hymt_trt_error *error);
int32_t hymt_trt_engine_tensor(const hymt_trt_engine *engine, int32_t index, hymt_trt_tensor *tensor,
                               hymt_trt_error *error);
int32_t hymt_trt_engine_profiles(const hymt_trt_engine *engine, int32_t *count, hymt_trt_error *error);
/* The bound of an input's shape in a profile. TENSOR if there is no such input. */
int32_t hymt_trt_engine_profile_shape(const hymt_trt_engine *engine, const char *name, int32_t profile,
                                      int32_t bound, hymt_trt_dims *shape, hymt_trt_error *error);
/* Bytes of scratch memory that a context of this engine takes, for the largest profile. */
int32_t hymt_trt_engine_device_memory(const hymt_trt_engine *engine, int64_t *bytes,
                                      hymt_trt_error *error);
/* What the engine consists of, as TensorRT's JSON; more with FLAG_DETAILED_LAYERS. The text does not
 * end with NUL. */
int32_t hymt_trt_engine_layers(const hymt_trt_engine *engine, hymt_trt_bytes **json,
                               hymt_trt_error *error);

/* ---- context --------------------------------------------------------------------------------- */

/* Allocates the scratch memory. Two contexts may not use the same profile at the same time in 8.x. */
int32_t hymt_trt_context_create(hymt_trt_engine *engine, hymt_trt_context **context,
                                hymt_trt_error *error);
void hymt_trt_context_destroy(hymt_trt_context *context);
/* Takes effect in the order of the stream, which has to be that of the next enqueue. Every input shape
 * is to be set again; addresses are kept. The next enqueue is slower: two contexts, one per profile,
 * cost memory instead. ARGUMENT if there is no such profile. */
int32_t hymt_trt_context_set_profile(hymt_trt_context *context, int32_t profile, void *stream,
                                     hymt_trt_error *error);
/* TENSOR if there is no such input, or if the shape lies outside the profile. */
int32_t hymt_trt_context_set_input_shape(hymt_trt_context *context, const char *name,
                                         const hymt_trt_dims *shape, hymt_trt_error *error);
/* The shape under the present input shapes. TENSOR while an input it depends on is open. */
int32_t hymt_trt_context_tensor_shape(const hymt_trt_context *context, const char *name,
                                      hymt_trt_dims *shape, hymt_trt_error *error);
/* Device memory (host memory for tensors with `on_host`), aligned to 256 bytes, that lives until the
 * last enqueue that uses it is done. Null is TENSOR. */
int32_t hymt_trt_context_set_address(hymt_trt_context *context, const char *name, void *address,
                                     hymt_trt_error *error);
/* Checks that every input has a shape, and works out the others. TENSOR names the open ones. */
int32_t hymt_trt_context_infer_shapes(hymt_trt_context *context, hymt_trt_error *error);
/* Puts one run into the stream and returns; may be captured into a CUDA graph, but only after one
 * plain run with the same profile and shapes. TENSOR names what has no address, ENQUEUE the rest. */
int32_t hymt_trt_context_enqueue(hymt_trt_context *context, void *stream, hymt_trt_error *error);

/* ---- builder --------------------------------------------------------------------------------- */

/* The lean runtime has no builder: SYMBOL_MISSING. Otherwise as for the runtime. */
int32_t hymt_trt_builder_create(hymt_trt_library *library, hymt_trt_builder **builder,
                                hymt_trt_error *error);
void hymt_trt_builder_destroy(hymt_trt_builder *builder);
int32_t hymt_trt_builder_dla_cores(hymt_trt_builder *builder, int32_t *cores, hymt_trt_error *error);

/* `strongly_typed` 1 needs CAN_STRONGLY_TYPE, 0 needs CAN_WEAKLY_TYPE, else UNSUPPORTED. The batch is
 * always a dimension of its own. */
int32_t hymt_trt_network_create(hymt_trt_builder *builder, int32_t strongly_typed,
                                hymt_trt_network **network, hymt_trt_error *error);
void hymt_trt_network_destroy(hymt_trt_network *network);
/* Reads an ONNX file; external data is looked up beside it. Once per network: the parser and its
 * weights live as long as the network. PARSE; LIBRARY_MISSING if opened without a parser. */
int32_t hymt_trt_network_parse_file(hymt_trt_network *network, const char *path, hymt_trt_error *error);
int32_t hymt_trt_network_parser_errors(const hymt_trt_network *network, int32_t *count,
                                       hymt_trt_error *error);
int32_t hymt_trt_network_parser_error(const hymt_trt_network *network, int32_t index,
                                      hymt_trt_parser_error *parser_error, hymt_trt_error *error);
int32_t hymt_trt_network_layers(const hymt_trt_network *network, int32_t *count, hymt_trt_error *error);
/* `kind` lives as long as the process or until the next call with this network. */
int32_t hymt_trt_network_layer(hymt_trt_network *network, int32_t index, hymt_trt_layer *layer,
                               hymt_trt_error *error);
/* Inputs come first, then outputs; the shapes are those of the graph, -1 where dynamic. */
int32_t hymt_trt_network_tensors(const hymt_trt_network *network, int32_t *count,
                                 hymt_trt_error *error);
int32_t hymt_trt_network_tensor(const hymt_trt_network *network, int32_t index, hymt_trt_tensor *tensor,
                                hymt_trt_error *error);

int32_t hymt_trt_profile_create(hymt_trt_builder *builder, hymt_trt_profile **profile,
                                hymt_trt_error *error);
/* TensorRT owns profiles: this frees the handle. After config_add_profile it may go at any time. */
void hymt_trt_profile_destroy(hymt_trt_profile *profile);
/* The range of one input, by name. TENSOR if the three disagree in rank or order. */
int32_t hymt_trt_profile_set_shape(hymt_trt_profile *profile, const char *name,
                                   const hymt_trt_dims *min, const hymt_trt_dims *opt,
                                   const hymt_trt_dims *max, hymt_trt_error *error);

int32_t hymt_trt_config_create(hymt_trt_builder *builder, hymt_trt_config **config,
                               hymt_trt_error *error);
void hymt_trt_config_destroy(hymt_trt_config *config);
int32_t hymt_trt_config_set_flag(hymt_trt_config *config, int32_t flag, hymt_trt_error *error);
/* Scratch memory that any one layer may take, in bytes. */
int32_t hymt_trt_config_set_workspace(hymt_trt_config *config, size_t bytes, hymt_trt_error *error);
/* 0 (fastest build) to 5. UNSUPPORTED before 8.6. */
int32_t hymt_trt_config_set_level(hymt_trt_config *config, int32_t level, hymt_trt_error *error);
/* Where layers run unless told otherwise; `dla_core` counts for DLA only. DLA_UNAVAILABLE. */
int32_t hymt_trt_config_set_device(hymt_trt_config *config, int32_t device, int32_t dla_core,
                                   hymt_trt_error *error);
/* 1 if this layer of the network can run on DLA under this config. */
int32_t hymt_trt_config_layer_on_dla(const hymt_trt_config *config, const hymt_trt_network *network,
                                     int32_t index, int32_t *can, hymt_trt_error *error);
/* `index` is the profile's number in the engine. */
int32_t hymt_trt_config_add_profile(hymt_trt_config *config, const hymt_trt_profile *profile,
                                    int32_t *index, hymt_trt_error *error);
/* Without bytes (null, 0) an empty cache, which the build fills. REFUSED if the bytes are of another
 * version or GPU: begin an empty one then. `bytes` may go afterwards. */
int32_t hymt_trt_config_set_timing_cache(hymt_trt_config *config, const void *bytes, size_t length,
                                         hymt_trt_error *error);
/* The cache as it is now. REFUSED if none was set. */
int32_t hymt_trt_config_timing_cache(const hymt_trt_config *config, hymt_trt_bytes **bytes,
                                     hymt_trt_error *error);
/* UNSUPPORTED before 10. `user` must live as long as the config. */
int32_t hymt_trt_config_set_progress(hymt_trt_config *config, hymt_trt_progress_fn progress, void *user,
                                     hymt_trt_error *error);

/* Blocks for minutes. BUILD, CANCELLED. */
int32_t hymt_trt_build(hymt_trt_builder *builder, hymt_trt_network *network, hymt_trt_config *config,
                       hymt_trt_bytes **plan, hymt_trt_error *error);

/* ---- bytes handed out (plans, timing caches, JSON) ------------------------------------------- */

const void *hymt_trt_bytes_data(const hymt_trt_bytes *bytes);
size_t hymt_trt_bytes_size(const hymt_trt_bytes *bytes);
void hymt_trt_bytes_destroy(hymt_trt_bytes *bytes);

#ifdef __cplusplus
}
#endif
#endif
