// The C door: arguments are checked, exceptions end here.

#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>

#include "atb.hpp"
#include "bad_input.hpp"
#include "model.hpp"

struct __attribute__((visibility("hidden"))) standin_model {
    standin::Model model;
};

namespace {

/// "2,3" or "" for no dims; nothing for any other text.
std::optional<std::vector<std::int64_t>> parse_dims(std::string_view text) {
    std::vector<std::int64_t> dims;
    const auto* at = text.data();
    const auto* end = at + text.size();
    while (at != end) {
        std::int64_t dim = 0;
        const auto [rest, error] = std::from_chars(at, end, dim);
        if (error != std::errc{} || (rest != end && (*rest != ',' || rest + 1 == end)) || dims.size() == atb::kMaxDims) {
            return std::nullopt;
        }
        dims.push_back(dim);
        at = rest == end ? end : rest + 1;
    }
    return dims;
}

template <typename Work>
int errno_of(Work work) noexcept {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    } catch (const std::exception&) {
        return EIO;
    }
}

}  // namespace

const char* standin_flavour(void) {
    static const auto text = std::string{standin::library_name()} + (_GLIBCXX_USE_CXX11_ABI != 0 ? " abi1" : " abi0");
    return text.c_str();
}

standin_model* standin_model_create(int id, const char* name, const char* layer_name, int flow) {
    const auto resolved = standin::resolve_flow(flow);
    if (id < 0 || name == nullptr || layer_name == nullptr || resolved == -1) {
        return nullptr;
    }
    try {
        return std::make_unique<standin_model>(standin_model{standin::Model{id, name, layer_name, resolved}}).release();
    } catch (const std::exception&) {
        return nullptr;
    }
}

void standin_model_destroy(standin_model* model) { const std::unique_ptr<standin_model> gone{model}; }

int standin_model_add_op(standin_model* model, int layer, const char* runner, int node, int inputs) {
    if (model == nullptr || runner == nullptr || inputs < 0 || inputs > 1) {
        return EINVAL;
    }
    return errno_of([&] {
        model->model.add(layer, runner, node, inputs);
        return 0;
    });
}

int standin_execute_op(standin_model* model, int layer, const char* runner, int node, uint64_t execute_count, const void* data,
                       uint64_t nbytes, int format, int dtype, const char* dims) {
    if (model == nullptr || runner == nullptr || dims == nullptr) {
        return EINVAL;
    }
    return errno_of([&] {
        auto parsed = parse_dims(dims);
        if (!parsed) {
            return EINVAL;
        }
        const standin::TensorValue values[] = {{data, nbytes, format, dtype, *std::move(parsed)}};
        auto& entry = model->model.find(layer, runner, node);
        const std::span<const standin::TensorValue> all{values};
        entry.operation->execute(execute_count, all.first(static_cast<std::size_t>(entry.inputs)), all, [] {});
        return 0;
    });
}

int standin_offer(standin_model* model, int layer, const char* runner, int node, uint64_t execute_count, const void* data, uint64_t nbytes,
                  int format, int dtype, const char* dims, uint64_t times) {
    if (model == nullptr || runner == nullptr || dims == nullptr) {
        return EINVAL;
    }
    return errno_of([&] {
        auto parsed = parse_dims(dims);
        if (!parsed) {
            return EINVAL;
        }
        model->model.find(layer, runner, node).operation->offer(execute_count, {data, nbytes, format, dtype, *std::move(parsed)}, times);
        return 0;
    });
}

const char* standin_bad_input(int kind) {
    const auto inputs = standin::bad_inputs();
    if (kind < 0 || static_cast<std::size_t>(kind) >= inputs.size()) {
        return nullptr;
    }
    const auto& input = inputs[static_cast<std::size_t>(kind)];
    const auto failed = errno_of([&] {
        input.offer();
        return 0;
    });
    return failed == 0 ? input.name : "failed";
}
