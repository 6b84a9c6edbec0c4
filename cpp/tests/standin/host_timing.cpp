// The only output that differs from run to run.

#include "host_timing.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kOffering = 64;  // operations that take turns, so that nobody remembers the last answer only

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

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

std::unique_ptr<standin_model, ModelDeleter> make_model(const Library& library, const Options& options) {
    std::unique_ptr<standin_model, ModelDeleter> model{library.model_create(0, "TimedTorch", "TimedLayer", options.flow),
                                                       ModelDeleter{library.model_destroy}};
    if (model == nullptr) {
        std::fputs("standin_host: the library does not have this flow\n", stderr);
        std::exit(2);
    }
    return model;
}

std::string header(std::uint64_t nbytes) {
    const auto length = std::to_string(nbytes);
    return "$Version=1.0\n$Object.Count=1\n$Object.Length=" + length + "\nformat=2\ndtype=4\ndims=" + length + "\n$Object.data=0," +
           length + "\n$End=1\n";
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

void write_plain(const std::string& path, const std::string& head, const char* payload, std::size_t size) {
    const auto file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (file == -1) {
        std::perror(("standin_host: " + path).c_str());
        std::exit(2);
    }
    write_all(file, head.data(), head.size());
    write_all(file, payload, size);
    ::close(file);
}

}  // namespace

void time_offers(const Library& library, const Options& options) {
    const std::vector<char> data(static_cast<std::size_t>(options.nbytes));
    const auto dims = std::to_string(options.nbytes);
    const auto each = options.not_selected / kOffering + 1;
    std::vector<double> ns(static_cast<std::size_t>(options.threads));
    std::barrier start_together{options.threads};
    const auto offer_all = [&](std::size_t thread) {
        const auto model = make_model(library, options);
        const auto offer = [&](std::uint64_t times) {
            for (int node = 0; node < kOffering; ++node) {
                library.offer(model.get(), 0, "NotSelectedRunner", node, 0, data.data(), options.nbytes, 2, 4, dims.c_str(), times);
            }
        };
        offer(1);  // sets the runners up
        start_together.arrive_and_wait();
        const auto start = Clock::now();
        offer(each);
        ns[thread] = seconds_since(start) * 1e9 / static_cast<double>(each * kOffering);
    };
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < ns.size(); ++thread) {
        threads.emplace_back(offer_all, thread);
    }
    threads.clear();
    std::printf("{\"threads\": %d, \"offers_per_thread\": %llu, \"ns_per_offer\": %s}\n", options.threads,
                static_cast<unsigned long long>(each * kOffering), as_json(ns).c_str());
}

void time_saving(const Library& library, const Options& options) {
    const auto model = make_model(library, options);
    const auto size = static_cast<std::size_t>(options.nbytes);
    std::vector<char> data(size);
    for (std::size_t index = 0; index < size; ++index) {
        data[index] = static_cast<char>(index * 31 + index / 4096);
    }
    const auto dims = std::to_string(options.nbytes);
    const auto head = header(options.nbytes);
    const auto plain = options.directory + "/standin_plain";
    ::mkdir(options.directory.c_str(), 0750);
    ::mkdir(plain.c_str(), 0750);
    for (int layer = 0; layer < options.layers; ++layer) {
        library.model_add_op(model.get(), layer, "SavedRunner", 0, 0);
    }

    std::uint64_t token = 0;
    const auto save_round = [&] {
        const auto start = Clock::now();
        for (int count = 0; count < options.tokens; ++count, ++token) {
            for (int layer = 0; layer < options.layers; ++layer) {
                library.execute_op(model.get(), layer, "SavedRunner", 0, token, data.data(), options.nbytes, 2, 4, dims.c_str());
            }
        }
        drain();
        return seconds_since(start);
    };
    int round = 0;
    // With `copies` as the library itself hands a tensor over: from the device to fresh memory first.
    const auto plain_round = [&](bool copies) {
        const auto stem = plain + "/" + std::to_string(round++) + "_";
        const auto start = Clock::now();
        for (int count = 0; count < options.tokens * options.layers; ++count) {
            const auto* payload = data.data();
            std::unique_ptr<char[]> copied;
            if (copies) {
                copied = std::make_unique_for_overwrite<char[]>(size);
                std::memcpy(copied.get(), data.data(), size);
                payload = copied.get();
            }
            write_plain(stem + std::to_string(count) + ".bin", head, payload, size);
        }
        return seconds_since(start);
    };

    std::vector<double> saved;
    std::vector<double> plainly;
    std::vector<double> copied;
    for (int count = 0; count < options.rounds; ++count) {
        plainly.push_back(plain_round(false));
        saved.push_back(save_round());
        copied.push_back(plain_round(true));
    }
    std::printf(
        "{\"tensors_per_round\": %d, \"bytes_per_tensor\": %llu,\n \"saved_s\": %s,\n \"plain_s\": %s,\n \"copied_plain_s\": %s,\n"
        " \"status\": %s}\n",
        options.tokens * options.layers, static_cast<unsigned long long>(options.nbytes), as_json(saved).c_str(), as_json(plainly).c_str(),
        as_json(copied).c_str(), status().c_str());
}
