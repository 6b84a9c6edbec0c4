#pragma once

// What a program says to a stand-in acceleration library. Plain C, the same names in every variant of it, so that ctypes and a dlopen()
// can use it and no std::string passes here. What the library says to the preload library is in atb.hpp and acltransformer.hpp.

#include <stdint.h>

#define STANDIN_API extern "C" __attribute__((visibility("default")))

/// Whose call order a model follows. A library answers null to a flow that it does not have.
enum standin_flow {
    STANDIN_DEFAULT = 0,            ///< STANDIN_PROBE or STANDIN_LEGACY, whichever the library has
    STANDIN_PROBE = 1,              ///< libatb: atb::Probe, all of it
    STANDIN_PROBE_OLDER = 2,        ///< libatb: before UpdateConfig and IsSaveTensorInSpecificDir were there
    STANDIN_STORE_ASDOPS = 3,       ///< libatb, November 2023: atb::StoreUtil::SaveTensor(AsdOps::Tensor), whole paths
    STANDIN_STORE_ATB = 4,          ///< libatb, November 2023: atb::StoreUtil::SaveTensor(atb::Tensor), whole paths
    STANDIN_LEGACY = 5,             ///< libacltransformer: AclTransformer::TensorUtil::SaveTensor, thread_{id of the thread}
    STANDIN_LEGACY_PID = 6,         ///< the same of a later build, thread_{pid}
    STANDIN_LEGACY_STORE_UTIL = 7,  ///< libacltransformer: AclTransformer::StoreUtil::SaveTensor
    STANDIN_PROBE_MKI = 8,          ///< libatb: as STANDIN_PROBE with Mki::Tensor, which nobody overrides: only Probe::SaveTensor is left
};

typedef struct standin_model standin_model;

/// Called by every thread before each of its tokens.
typedef void (*standin_token_hook)(void* context, int thread, int token);

/// "atb abi1", "acltransformer abi0" and so on.
STANDIN_API const char* standin_flavour(void);

/// A model whose directory is `{id}_{name}` and whose layers are `{layer}_{layer_name}`. Null if an argument makes no sense.
STANDIN_API standin_model* standin_model_create(int id, const char* name, const char* layer_name, int flow);
STANDIN_API void standin_model_destroy(standin_model* model);

/// Sets up the runner `{layer}_{layer_name}/{node}_{runner}`: here, and only here, IsTensorNeedSave is asked.
/// A negative node means the layer itself, a negative layer the model. `inputs`: 0 or 1 input tensor. Returns 0 or an errno.
STANDIN_API int standin_model_add_op(standin_model* model, int layer, const char* runner, int node, int inputs);

/// Executes a runner (set up with one input if it is not yet). The operation is the identity: `data` is input and output.
/// `dims` is "2,3"; at most 8 of them. Returns 0 or an errno.
STANDIN_API int standin_execute_op(standin_model* model, int layer, const char* runner, int node, uint64_t execute_count, const void* data,
                                   uint64_t nbytes, int format, int dtype, const char* dims);

/// Offers one output `times` times, with all the questions of an execution but with paths that were made beforehand: what remains is what
/// the preload library costs.
STANDIN_API int standin_offer(standin_model* model, int layer, const char* runner, int node, uint64_t execute_count, const void* data,
                              uint64_t nbytes, int format, int dtype, const char* dims, uint64_t times);

/// Runs a model of its own on every thread and returns a checksum of what they computed. See README.md for names and numbers.
STANDIN_API uint64_t standin_run(int threads, int first_token, int tokens, int layers, uint64_t bytes_per_tensor, int flow,
                                 standin_token_hook hook, void* context);

/// Hands the bad input number `kind` through the library's own calls, whatever the preload library answers to the questions before.
/// Returns its name, or null if there is none of this number.
STANDIN_API const char* standin_bad_input(int kind);
