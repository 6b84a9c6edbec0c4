#include "core.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "fastcmp_preload.h"
#include "libraries.hpp"
#include "paths.hpp"
#include "process.hpp"
#include "status.hpp"
#include "text.hpp"

namespace fastcmp::preload {
namespace {

// The original probes refused more than this as well; no tensor of a model is that large.
constexpr std::uint64_t kMaxTensorBytes = std::uint64_t{10} << 30;
constexpr std::size_t kMaxAttribute = 16;
constexpr std::size_t kMaxDims = 1024;

std::string_view view(Text text) { return text.data == nullptr ? std::string_view{} : std::string_view{text.data, text.size}; }

Call call_of(Abi abi, bool is_legacy = false) {
    if (is_legacy) {
        return abi == Abi::old ? Call::legacy_abi0 : Call::legacy_abi1;
    }
    return abi == Abi::old ? Call::abi0 : Call::abi1;
}

// A question without strings: counted, and answered where the library is switched on.
template <typename Ask>
bool asked(Ask question) noexcept {
    return guarded(false, [&](Process& process) {
        process.count_call(Call::plain);
        return process.settings.is_on && question(process, process.settings.environment);
    });
}

// Neither a list nor a selection yet: a tensor may still be registered before the first round.
bool may_register_later(const Process& process) {
    return process.settings.select == Select::automatic && !process.settings.environment.selects_anything();
}

bool is_attribute(std::string_view text) {
    const auto is_plain = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_'; };
    return !text.empty() && text.size() <= kMaxAttribute && std::all_of(text.begin(), text.end(), is_plain);
}

bool are_dims(std::string_view text) {
    return text.size() <= kMaxDims && std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || c == ',' || c == '-'; });
}

// Where a tensor goes, or nothing: refused, or not selected. Both are counted.
std::unique_ptr<Job> place_registered(Process& process, std::string_view path) {
    const auto tail = tail_of(path, process.settings.task);
    auto found = process.registry.find(tail);
    if (!found) {
        process.counters.add(Count::not_selected);
        process.unregistered.add(tail);
        if (process.settings.select == Select::automatic && process.settings.environment.selects_anything() && !process.registry.has_lists()) {
            process.teller.once("unregistered", "nothing is registered so far, so nothing is saved; FASTCMP_SELECT=environment saves what "
                                                "the environment selects");
        }
        return nullptr;
    }
    auto job = std::make_unique<Job>();
    job->registered = found->tail;
    if (found->run_directory.empty()) {
        job->relative = std::move(found->tail);
    } else {
        auto [base, middle] = split_base(found->run_directory, 2);  // the user has named what holds `tensors/thread_{pid}`
        job->root = std::move(base);
        job->own_names = 2;
        job->relative = middle + "/" + found->tail;
    }
    return job;
}

// At `base`/`middle`/`relative`: the base is what the user named, the rest may hold no link of somebody else.
std::unique_ptr<Job> place_below(Process& process, const std::string& base, const std::string& middle, std::string_view relative) {
    if (const auto objection = objection_to(relative); !objection.empty()) {
        process.lose(Count::refused_path, relative, "refused: " + std::string{objection} + ", expected one below the output directory");
        return nullptr;
    }
    auto job = std::make_unique<Job>();
    job->root = base;
    job->own_names = 1 + static_cast<int>(std::count(middle.begin(), middle.end(), '/'));
    job->relative = middle + "/" +
                    (process.parent_pid == 0 ? std::string{relative} : with_own_run_directory(relative, process.parent_pid, process.pid));
    return job;
}

// The directory that a library of 2023 was told to write to, where the path begins with it; nothing for a path as probes are given.
std::optional<std::string_view> legacy_root_of(const Process& process, std::string_view path) {
    for (const auto& root : process.settings.legacy_roots) {
        if (below(path, root)) {
            return root;
        }
    }
    return std::nullopt;
}

// Where the library itself would have written it.
std::unique_ptr<Job> place_as_given(Process& process, std::string_view path) {
    if (const auto root = legacy_root_of(process, path)) {
        // The user has named the directory that holds `tensors`.
        const auto here = root->starts_with('/') ? std::string{} : working_directory() + "/";
        auto [base, middle] = split_base(here + std::string{*root}, 1);
        if (here == "/") {
            base.clear();  // the working directory is gone: nowhere
        }
        return place_below(process, base, middle, path.substr(root->size() + 1));
    }
    return place_below(process, process.settings.output_base, process.settings.output_below, path);
}

std::unique_ptr<Job> place(Process& process, std::string_view path) {
    if (process.is_list_asked()) {
        auto job = place_registered(process, path);
        if (job == nullptr || !job->root.empty()) {
            return job;
        }
        auto placed = place_as_given(process, collapsed(path));  // a list of another process
        if (placed != nullptr) {
            placed->registered = job->registered;
        }
        return placed;
    }
    const auto plain = collapsed(path);
    // A library of 2023 has asked its own variables before it calls.
    const bool is_selected = legacy_root_of(process, plain) || (process.settings.environment.selects_anything() &&
                                                                 process.settings.environment.admits_path(plain));
    if (!is_selected) {
        process.counters.add(Count::not_selected);
        return nullptr;
    }
    return place_as_given(process, plain);
}

struct Attributes {
    std::string_view format;
    std::string_view dtype;
    std::string_view dims;
};

// False where the environment asks for descriptions only.
bool wants_data(Process& process) {
    const auto& environment = process.settings.environment;
    return process.is_list_asked() || environment.data || !environment.description;
}

bool is_too_large(Process& process, const Job& job, std::uint64_t size) {
    if (size <= kMaxTensorBytes) {
        return false;
    }
    process.lose(Count::refused_size, job.relative, "refused: found a tensor of more than 10 GiB");
    return true;
}

void save_job(Process& process, std::unique_ptr<Job> job, const Attributes& attributes, std::uint64_t size, Source source) {
    if (!is_attribute(attributes.format) || !is_attribute(attributes.dtype) || !are_dims(attributes.dims)) {
        process.lose(Count::refused_attributes, job->relative,
                     "refused: found format '" + printable(attributes.format, 40) + "', dtype '" + printable(attributes.dtype, 40) + "', dims '" +
                         printable(attributes.dims, 40) + "', expected numbers");
        return;
    }
    if (is_too_large(process, *job, size)) {
        return;
    }
    const bool is_wanted = wants_data(process);
    const bool has_data = is_wanted && source.data != nullptr;
    if (is_wanted && source.data == nullptr && size != 0) {
        process.lose(Count::no_data, job->relative, "the library handed no data over; only its description is saved");
    }
    job->size = has_data ? size : 0;
    job->header = tensor_header(attributes.format, attributes.dtype, attributes.dims, job->size);
    process.save(std::move(job), source);
}

// Device memory. Both functions take (to, room, from, size, kind) and answer 0 where all went well.
using DeviceCopy = int (*)(void*, std::size_t, const void*, std::size_t, int);
constexpr int kFromDevice = 2;

DeviceCopy device_copy(bool is_legacy) {
    static std::atomic<void*> found[2]{};
    static std::atomic<int> to_pass_over{0};
    constexpr int kLookEvery = 1024;  // all loaded objects are looked through where there is none
    auto& mine = found[is_legacy ? 1 : 0];
    void* function = mine.load(std::memory_order_acquire);
    if (function == nullptr && to_pass_over.fetch_sub(1, std::memory_order_relaxed) <= 0) {
        function = find_function(is_legacy ? "AsdRtMemCopy" : "aclrtMemcpy");
        if (function == nullptr) {
            function = find_function(is_legacy ? "aclrtMemcpy" : "AsdRtMemCopy");
        }
        // Threads that ask at the same time all look: who passes over has been told before that there is none.
        to_pass_over.store(function == nullptr ? kLookEvery : 0, std::memory_order_relaxed);
        mine.store(function, std::memory_order_release);
    }
    return reinterpret_cast<DeviceCopy>(function);
}

std::string dims_text(const LibraryTensor& tensor) {
    std::string text;
    for (std::size_t i = 0; i < tensor.dim_count; ++i) {
        text += i == 0 ? "" : ",";
        text += std::to_string(tensor.dims[i]);
    }
    return text;
}

void save_of_library(Process& process, const LibraryTensor& tensor, std::string_view path) {
    auto job = place(process, path);
    if (job == nullptr) {
        return;
    }
    if (tensor.dim_count > tensor.max_dims) {
        process.lose(Count::refused_attributes, job->relative, "refused: found more dimensions than its type can hold");
        return;
    }
    Source source{static_cast<const char*>(tensor.host_data), {}};
    if (tensor.host_data == nullptr && tensor.device_data != nullptr && tensor.data_size != 0) {
        const auto copy = device_copy(tensor.is_legacy);
        if (copy == nullptr) {
            process.lose(Count::no_device_copy, job->relative, "neither AsdRtMemCopy nor aclrtMemcpy is loaded, so the device cannot be read");
            return;
        }
        source.data = static_cast<const char*>(tensor.device_data);
        source.fetch = [copy](char* to, const char* from, std::size_t size) { return copy(to, size, from, size, kFromDevice) == 0; };
    }
    const auto format = std::to_string(tensor.format);
    const auto dtype = std::to_string(tensor.dtype);
    const auto dims = dims_text(tensor);
    save_job(process, std::move(job), {format, dtype, dims}, tensor.data_size, std::move(source));
}

}  // namespace

bool is_tensor_needed(Abi abi, const std::int64_t* ids, std::size_t id_count, Text operation) noexcept {
    return guarded(false, [&](Process& process) {
        process.count_call(call_of(abi));
        if (!process.settings.is_on) {
            return false;
        }
        // The library asks once per runner, before the first round: what may be registered later counts as needed.
        if (process.is_list_asked() || may_register_later(process)) {
            return true;
        }
        const auto& environment = process.settings.environment;
        return environment.selects_anything() && environment.admits_operation(ids, ids == nullptr ? 0 : id_count, view(operation));
    });
}

bool is_directory_needed(Abi abi, Text directory) noexcept {
    return guarded(false, [&](Process& process) {
        process.count_call(call_of(abi));
        if (!process.settings.is_on) {
            return false;
        }
        if (process.is_list_asked()) {
            auto path = view(directory);
            while (path.size() > 1 && path.ends_with('/')) {
                path.remove_suffix(1);
            }
            const auto tail = tail_of(path, process.settings.task);
            const bool is_needed = process.registry.has_directory(tail);
            if (!is_needed) {
                process.unregistered.add(tail);
            }
            return is_needed;
        }
        return process.settings.environment.selects_anything();
    });
}

bool is_round_needed(std::uint64_t execute_count) noexcept {
    return asked([&](Process& process, const EnvironmentSelection& environment) {
        return process.is_list_asked() ? process.registry.has_token(execute_count)
                                       : environment.selects_anything() && environment.admits_round(execute_count);
    });
}

bool is_data_needed() noexcept {
    return asked([](Process& process, const EnvironmentSelection& environment) { return process.is_list_asked() || environment.data; });
}

bool is_description_needed() noexcept {
    return asked([](Process& process, const EnvironmentSelection& environment) {
        return process.is_list_asked() || may_register_later(process) || environment.selects_anything();
    });
}

bool is_before_needed() noexcept {
    return asked([](Process& process, const EnvironmentSelection& environment) {
        return process.is_list_asked() ? process.registry.has_before() : environment.before;
    });
}

bool is_after_needed() noexcept {
    return asked([](Process& process, const EnvironmentSelection& environment) {
        return process.is_list_asked() ? process.registry.has_after() : environment.after;
    });
}

bool are_children_needed() noexcept {
    return asked([](Process& process, const EnvironmentSelection& environment) { return process.is_list_asked() || environment.children; });
}

bool are_inputs_needed() noexcept {
    return asked([](Process& process, const EnvironmentSelection& environment) { return process.is_list_asked() || environment.inputs; });
}

bool are_outputs_needed() noexcept {
    return asked([](Process& process, const EnvironmentSelection& environment) { return process.is_list_asked() || environment.outputs; });
}

bool is_tiling_needed() noexcept {
    return asked([](Process& process, const EnvironmentSelection& environment) { return !process.is_list_asked() && environment.tiling; });
}

void save_tensor(Abi abi, Text format, Text dtype, Text dims, const void* host_data, std::uint64_t data_size, Text path) noexcept {
    guarded(false, [&](Process& process) {
        process.count_call(call_of(abi));
        if (!process.settings.is_on) {
            return false;
        }
        process.counters.add(Count::offered);
        if (auto job = place(process, view(path))) {
            save_job(process, std::move(job), {view(format), view(dtype), view(dims)}, data_size, {static_cast<const char*>(host_data), {}});
        }
        return true;
    });
}

void save_tiling(Abi abi, const void* data, std::uint64_t data_size, Text path) noexcept {
    guarded(false, [&](Process& process) {
        process.count_call(call_of(abi));
        if (!process.settings.is_on || process.is_list_asked() || !process.settings.environment.tiling || data == nullptr) {
            return false;
        }
        process.counters.add(Count::offered);
        auto job = place_below(process, process.settings.output_base, process.settings.output_below, view(path));
        if (job == nullptr || is_too_large(process, *job, data_size)) {
            return false;
        }
        job->size = data_size;
        process.save(std::move(job), {static_cast<const char*>(data), {}});
        return true;
    });
}

void save_library_tensor(Abi abi, const LibraryTensor& tensor, Text path) noexcept {
    guarded(false, [&](Process& process) {
        process.count_call(call_of(abi, true));
        if (process.settings.is_on) {
            process.counters.add(Count::offered);
            save_of_library(process, tensor, view(path));
        }
        return true;
    });
}

}  // namespace fastcmp::preload

// --- the C interface --------------------------------------------------------------------------------------------------------------------

using namespace fastcmp::preload;

namespace {

std::size_t copy_out(const std::string& text, char* buffer, std::size_t size) {
    if (buffer != nullptr && size != 0) {
        const auto count = std::min(text.size(), size - 1);
        std::memcpy(buffer, text.data(), count);
        buffer[count] = '\0';
    }
    return text.size();
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int fastcmp_preload_follow(const char* allow_list, const char* run_directory) {
    return guarded(EINVAL, [&](Process& process) {
        const std::string_view directory = run_directory == nullptr ? "" : run_directory;
        if (allow_list == nullptr || *allow_list != '/' || (!directory.empty() && directory.front() != '/')) {
            return EINVAL;
        }
        if (!process.settings.lists_count()) {
            return ENOTSUP;  // switched off, or the environment is to decide
        }
        const int error = process.registry.follow(allow_list, collapsed(directory), false);
        if (error == 0) {
            process.is_followed = true;
            process.show_heartbeat(false);
        }
        return error;
    });
}

__attribute__((visibility("default"))) int fastcmp_preload_drain(double seconds) {
    return guarded(ETIMEDOUT, [&](Process& process) { return process.writer->drain(seconds) ? 0 : ETIMEDOUT; });
}

__attribute__((visibility("default"))) size_t fastcmp_preload_status(char* buffer, size_t size) {
    return guarded(size_t{0}, [&](Process& process) { return copy_out(status_text(process, false, true), buffer, size); });
}

__attribute__((visibility("default"))) size_t fastcmp_preload_environment(char* buffer, size_t size) {
    const CallGuard guard;
    try {
        return copy_out(describe(read_settings([](const char* name) -> const char* { return std::getenv(name); })), buffer, size);
    } catch (...) {
        return 0;
    }
}

}  // extern "C"
