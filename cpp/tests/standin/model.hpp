#pragma once

// What all stand-in libraries share: models made of operations. How an operation saves its tensors is the matter of each library.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "standin.h"

namespace [[gnu::visibility("hidden")]] standin {

struct TensorValue {
    const void* data = nullptr;  ///< on the host
    std::uint64_t nbytes = 0;
    std::int32_t format = 2;
    std::int32_t dtype = 0;
    std::vector<std::int64_t> dims;
};

/// Where an operation stands: ids {0, 3, 1}, path "0_LlamaModelTorch/3_LlamaLayerRunner/1_SelfAttentionRunner", name its last part.
struct Place {
    std::vector<std::int64_t> ids;
    std::string path;
    std::string name;
};

class Operation {
public:
    virtual ~Operation() = default;
    /// The save protocol around `kernel`, which is what fills the outputs.
    virtual void execute(std::uint64_t execute_count, std::span<const TensorValue> inputs, std::span<const TensorValue> outputs,
                         const std::function<void()>& kernel) = 0;
    virtual void offer(std::uint64_t execute_count, const TensorValue& output, std::uint64_t times) = 0;
};

class Model {
public:
    Model(int id, std::string name, std::string layer_name, int flow);

    struct Entry {
        std::unique_ptr<Operation> operation;
        int inputs;
    };
    Entry& add(int layer, const std::string& runner, int node, int inputs);
    /// The entry, set up with one input if it was not yet.
    Entry& find(int layer, const std::string& runner, int node);

private:
    [[nodiscard]] Place place_of(int layer, const std::string& runner, int node) const;

    int id_;
    std::string name_;
    std::string layer_name_;
    int flow_;
    std::map<std::pair<int, int>, Entry> entries_;
};

/// Names of the model that standin_run runs.
constexpr auto kModelName = "StandinModelTorch";
constexpr auto kLayerName = "StandinLayerRunner";
constexpr const char* kRunners[] = {"NormOpsRunner", "SelfAttentionRunner", "LinearOpsRunner"};

/// "3_name": how every directory of an operation is named.
std::string numbered(std::int64_t id, const std::string& name);

/// An environment variable, or `otherwise` if it is unset or empty.
std::string environment(const char* name, const std::string& otherwise);

// Each library has its own of these.
const char* library_name();
int resolve_flow(int flow);  ///< -1 if the library does not have it
std::unique_ptr<Operation> make_operation(const Place& place, int flow);

}  // namespace standin
