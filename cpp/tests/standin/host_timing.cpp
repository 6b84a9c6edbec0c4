// The only output that differs from run to run.

#include "host_timing.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBuffer = std::size_t{1} << 20;  // small enough for the cache
constexpr int kOffering = 64;  // operations that take turns, so that nobody remembers the last answer only

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Of a processor, spent by this thread.
double processor_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <typename Function>
Function preload_function(const char* name) {
    return reinterpret_cast<Function>(::dlsym(RTLD_DEFAULT, name));
}

void drain() {
    // Looked up each time: it is not there without the preload library.
    if (const auto drain = preload_function<int (*)(double)>("fastcmp_preload_drain"); drain != nullptr) {
        if (const auto failed = drain(600.0); failed != 0) {
            std::fprintf(stderr, "standin_host: fastcmp_preload_drain: %s\n", std::strerror(failed));
        }
    }
}

std::string status() {
    const auto status = preload_function<std::size_t (*)(char*, std::size_t)>("fastcmp_preload_status");
    if (status == nullptr) {
        return "null";
    }
    std::string text(status(nullptr, 0) + 4096, '\0');
    text.resize(std::min(status(text.data(), text.size()), text.size() - 1));
    return text;
}

std::string as_json(const std::vector<double>& values) {
    std::string text;
    for (const auto value : values) {
        char number[32];
        std::snprintf(number, sizeof number, "%s%.6g", text.empty() ? "" : ", ", value);
        text += number;
    }
    return "[" + text + "]";
}

struct ModelDeleter {
    decltype(&standin_model_destroy) destroy;
    void operator()(standin_model* model) const { destroy(model); }
};

using Model = std::unique_ptr<standin_model, ModelDeleter>;

Model make_model(const Library& library, const Options& options, int id) {
    Model model{library.model_create(id, "TimedTorch", "TimedLayer", options.flow), ModelDeleter{library.model_destroy}};
    if (model == nullptr) {
        std::fputs("standin_host: the library does not have this flow\n", stderr);
        std::exit(2);
    }
    return model;
}

std::string header(std::uint64_t nbytes, const std::string& dims) {
    const auto length = std::to_string(nbytes);
    return "$Version=1.0\n$Object.Count=1\n$Object.Length=" + length + "\nformat=2\ndtype=3\ndims=" + dims + "\n$Object.data=0," + length +
           "\n$End=1\n";
}

void write_all(int file, const char* data, std::size_t size) {
    while (size > 0) {
        const auto written = ::write(file, data, size);
        if (written <= 0) {
            std::perror("standin_host: write");
            std::exit(2);
        }
        data += written;
        size -= static_cast<std::size_t>(written);
    }
}

/// With a buffer, the payload is copied into it first, piece by piece.
void write_plain(const std::string& path, const std::string& head, const char* payload, std::size_t size, char* buffer) {
    const auto file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (file == -1) {
        std::perror(("standin_host: " + path).c_str());
        std::exit(2);
    }
    write_all(file, head.data(), head.size());
    if (buffer == nullptr) {
        write_all(file, payload, size);
    }
    for (std::size_t done = 0; buffer != nullptr && done < size; done += kBuffer) {
        const auto part = std::min(kBuffer, size - done);
        std::memcpy(buffer, payload + done, part);
        write_all(file, buffer, part);
    }
    ::close(file);
}

/// The same tensors again and again: through the library, and without ado into a tree and into one directory.
///
/// All of it lands below one directory that was empty. In between, large files are cut to nothing: what is not yet written back then
/// never is, so that the disk's pace decides nothing. They are not removed: ext4 looks at every inode that was freed in the last
/// minutes before it makes a directory.
class Saving {
public:
    Saving(const Library& library, const Options& options)
        : library_{library}, options_{options}, dims_{"1," + std::to_string(options.nbytes / sizeof(std::int32_t))} {
        if (options.directory.empty() || options.nbytes < sizeof(std::int32_t) || options.nbytes % sizeof(std::int32_t) != 0) {
            std::fputs("standin_host: --throughput needs --directory, and --bytes a multiple of 4\n", stderr);
            std::exit(2);
        }
        std::filesystem::create_directories(options.directory);
        if (!std::filesystem::is_empty(options.directory)) {
            std::fprintf(stderr, "standin_host: %s: not empty\n", options.directory.c_str());
            std::exit(2);
        }
        for (int thread = 0; thread < options.threads; ++thread) {
            models_.push_back(make_model(library, options, thread));
            for (int layer = 0; layer < options.layers; ++layer) {
                library.model_add_op(models_.back().get(), layer, kRunner, 0, 0);
            }
            buffers_.emplace_back(kBuffer);
            auto& values = values_.emplace_back(options.nbytes / sizeof(std::int32_t));
            for (std::size_t index = 0; index < values.size(); ++index) {
                values[index] = static_cast<std::int32_t>(index);
            }
        }
    }

    void clear() const {
        constexpr std::uint64_t kSmall = 64 * 1024;
        if (options_.nbytes <= kSmall) {
            return;
        }
        for (const auto& entry : std::filesystem::recursive_directory_iterator{options_.directory}) {
            std::error_code gone;  // the library's heartbeat may be renamed meanwhile
            if (entry.is_regular_file(gone) && entry.file_size(gone) > kSmall && !gone) {
                std::filesystem::resize_file(entry.path(), 0);
            }
        }
    }

    double save() {
        return timed([this](int thread, int token, int layer, const char* data) {
            library_.execute_op(models_[static_cast<std::size_t>(thread)].get(), layer, kRunner, 0, static_cast<std::uint64_t>(token), data,
                                options_.nbytes, 2, 3, dims_.c_str());
        });
    }

    /// Where the library would have put them, had it another root.
    double write_tree() { return write_trees(false); }

    /// With the copy from the device that the library makes, too.
    double copy_to_tree() { return write_trees(true); }

    double write_flat() {
        const auto directory = options_.directory + "/flat";
        std::filesystem::create_directory(directory);
        return timed([this, directory](int thread, int token, int layer, const char* data) {
            const auto name = std::to_string(thread) + "_" + std::to_string(token) + "_" + std::to_string(layer) + ".bin";
            write_plain(directory + "/" + name, header(options_.nbytes, dims_), data, options_.nbytes, nullptr);
        });
    }

private:
    static constexpr auto kRunner = "SavedRunner";
    using Write = std::function<void(int thread, int token, int layer, const char* data)>;

    double write_trees(bool copies) {
        const auto stem = options_.directory + "/plain/tensors/0_" + std::to_string(::getpid()) + "/";
        return timed([this, stem, copies](int thread, int token, int layer, const char* data) {
            const auto directory = stem + std::to_string(token) + "/" + std::to_string(thread) + "_TimedTorch/" + std::to_string(layer) +
                                   "_TimedLayer/0_" + kRunner + "/after";
            std::filesystem::create_directories(directory);
            auto* buffer = copies ? buffers_[static_cast<std::size_t>(thread)].data() : nullptr;
            write_plain(directory + "/outtensor0.bin", header(options_.nbytes, dims_), data, options_.nbytes, buffer);
        });
    }

    /// Seconds until every thread has written all of its tensors, and what was put off is written, too. Tokens never come again.
    double timed(const Write& write) {
        Clock::time_point start;
        std::barrier start_together{options_.threads, [&start]() noexcept { start = Clock::now(); }};
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < options_.threads; ++thread) {
            threads.emplace_back([&, thread] {
                auto& values = values_[static_cast<std::size_t>(thread)];
                start_together.arrive_and_wait();
                for (int token = first_token_; token < first_token_ + options_.tokens; ++token) {
                    for (int layer = 0; layer < options_.layers; ++layer) {
                        values[0] = token * options_.layers + layer;  // no two tensors of a thread are the same
                        write(thread, token, layer, reinterpret_cast<const char*>(values.data()));
                    }
                }
            });
        }
        threads.clear();
        drain();
        const auto seconds = seconds_since(start);
        first_token_ += options_.tokens;
        return seconds;
    }

    const Library& library_;
    const Options& options_;
    std::string dims_;
    // One of each per thread.
    std::vector<Model> models_;
    std::vector<std::vector<std::int32_t>> values_;  // 0, 1, 2, ... but for the first
    std::vector<std::vector<char>> buffers_;
    int first_token_ = 0;
};

}  // namespace

void time_offers(const Library& library, const Options& options) {
    const std::vector<char> data(static_cast<std::size_t>(options.nbytes));
    const auto dims = std::to_string(options.nbytes);
    const auto each = options.not_selected / kOffering + 1;
    std::vector<double> ns(static_cast<std::size_t>(options.threads));
    auto processor_ns = ns;
    std::barrier start_together{options.threads};
    const auto offer_all = [&](std::size_t thread) {
        const auto model = make_model(library, options, static_cast<int>(thread));
        const auto offer = [&](std::uint64_t times) {
            for (int node = 0; node < kOffering; ++node) {
                library.offer(model.get(), 0, "NotSelectedRunner", node, 0, data.data(), options.nbytes, 2, 4, dims.c_str(), times);
            }
        };
        offer(1);  // sets the runners up
        start_together.arrive_and_wait();
        const auto start = Clock::now();
        const auto processor_start = processor_seconds();
        offer(each);
        const auto offers = static_cast<double>(each * kOffering);
        processor_ns[thread] = (processor_seconds() - processor_start) * 1e9 / offers;
        ns[thread] = seconds_since(start) * 1e9 / offers;
    };
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < ns.size(); ++thread) {
        threads.emplace_back(offer_all, thread);
    }
    threads.clear();
    std::printf("{\"threads\": %d, \"offers_per_thread\": %llu, \"ns_per_offer\": %s,\n \"processor_ns_per_offer\": %s,\n"
                " \"status\": %s}\n",
                options.threads, static_cast<unsigned long long>(each * kOffering), as_json(ns).c_str(), as_json(processor_ns).c_str(),
                status().c_str());
}

void time_saving(const Library& library, const Options& options) {
    Saving saving{library, options};
    std::vector<double> flat;
    std::vector<double> plain;
    std::vector<double> copied;
    std::vector<double> saved;
    for (int round = 0; round <= options.rounds; ++round) {
        const bool is_recorded = round > 0;  // the first one warms up
        for (const auto& [run, seconds] : {std::pair{&Saving::write_flat, &flat},
                                           {&Saving::copy_to_tree, &copied},
                                           {&Saving::write_tree, &plain},
                                           {&Saving::save, &saved}}) {
            saving.clear();
            const auto took = (saving.*run)();
            if (is_recorded) {
                seconds->push_back(took);
            }
        }
    }
    std::printf(
        "{\"threads\": %d, \"tensors_per_round\": %d, \"bytes_per_tensor\": %llu,\n \"saved_s\": %s,\n \"plain_s\": %s,\n"
        " \"copied_s\": %s,\n \"flat_s\": %s,\n \"status\": %s}\n",
        options.threads, options.threads * options.tokens * options.layers, static_cast<unsigned long long>(options.nbytes),
        as_json(saved).c_str(), as_json(plain).c_str(), as_json(copied).c_str(), as_json(flat).c_str(), status().c_str());
}
