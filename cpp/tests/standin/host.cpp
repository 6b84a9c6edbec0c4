// A program that runs on a stand-in acceleration library. Of the preload library it knows nothing but two names, looked up at run time.
// What it prints depends on its options alone, preload library or not; only the two timings differ.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "host_library.hpp"
#include "host_options.hpp"
#include "host_timing.hpp"

namespace {

void append_line(const std::string& path, const std::string& line) {
    const auto file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const auto text = line + "\n";
    if (file == -1 || ::write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        std::perror(("standin_host: " + path).c_str());
        std::exit(2);
    }
    ::close(file);
}

/// What happens between the tokens.
class Between {
public:
    explicit Between(const Options& options)
        : options_{options}, together_{!options.registered.empty() || options.sleep_ms > 0}, meeting_{options.threads, Completion{this}} {}

    static void hook(void* context, int thread, int token) { static_cast<Between*>(context)->before(thread, token); }

    void wait_for_middle() { middle_.wait(false); }

private:
    struct Completion {
        Between* between;
        void operator()() const noexcept { between->all_are_here(); }
    };

    void before(int thread, int token) {
        if (thread == 0 && token == options_.tokens / 2) {
            middle_ = true;
            middle_.notify_all();
        }
        if (together_ && token > 0) {
            meeting_.arrive_and_wait();
        }
    }

    void all_are_here() noexcept {
        if (next_ < options_.registered.size()) {
            const auto& [file, line] = options_.registered[next_++];
            append_line(file, line);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{options_.sleep_ms});
    }

    const Options& options_;
    bool together_;
    std::size_t next_ = 0;
    std::atomic<bool> middle_{false};
    std::barrier<Completion> meeting_;
};

std::uint64_t run(const Library& library, const Options& options, int first_token, int tokens, Between* between) {
    return library.run(options.threads, first_token, tokens, options.layers, options.nbytes, options.flow,
                       between == nullptr ? nullptr : &Between::hook, between);
}

void print_checksum(const char* who, std::uint64_t checksum) {
    std::printf("%s %016llx\n", who, static_cast<unsigned long long>(checksum));
}

[[noreturn]] void leave(const Options& options, int status) {
    std::fflush(nullptr);
    if (options.exit_fast) {
        ::_exit(status);
    }
    std::exit(status);
}

/// Forks while the other threads are in the middle of it.
void run_and_fork(const Library& library, const Options& options, Between& between) {
    std::uint64_t checksum = 0;
    std::thread running{[&] { checksum = run(library, options, 0, options.tokens, &between); }};
    between.wait_for_middle();
    std::fflush(nullptr);
    const auto child = ::fork();
    if (child == 0) {
        const auto middle = options.tokens / 2;
        print_checksum("child", run(library, options, middle, options.tokens - middle, nullptr));
        leave(options, 0);
    }
    running.join();
    int status = 0;
    if (child == -1 || ::waitpid(child, &status, 0) != child) {
        std::perror("standin_host: fork");
        std::exit(2);
    }
    std::printf("child ended %s %d\n", WIFSIGNALED(status) ? "by signal" : "with",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    print_checksum("checksum", checksum);
}

/// Saves one tensor when the process ends.
class SaveAtExit {
public:
    void arm(const Library& library, const Options& options) {
        library_ = library;
        model_ = library.model_create(1000, "AtExitTorch", "AtExitLayer", options.flow);
        library_.model_add_op(model_, 0, "AtExitRunner", 0, 1);
    }

    ~SaveAtExit() {
        if (model_ != nullptr) {
            const float data[] = {1, 2, 3, 4};
            library_.execute_op(model_, 0, "AtExitRunner", 0, 0, data, sizeof data, 2, 0, "2,2");
            library_.model_destroy(model_);
            std::puts("saved at exit");
        }
    }

private:
    Library library_{};
    standin_model* model_ = nullptr;
};

SaveAtExit save_at_exit;

void hand_over_bad_inputs(const Library& library) {
    for (int kind = 0;; ++kind) {
        const auto* name = library.bad_input(kind);
        if (name == nullptr) {
            return;
        }
        std::printf("survived %s\n", name);
        std::fflush(stdout);
    }
}

}  // namespace

int main(int count, char** arguments) {
    const auto options = parse_options(count, arguments);
    const auto library = find_library(options, arguments);
    if (options.save_at_exit) {
        save_at_exit.arm(library, options);
    }
    if (options.not_selected > 0) {
        time_offers(library, options);
        leave(options, 0);
    }
    if (options.throughput) {
        time_saving(library, options);
        leave(options, 0);
    }
    std::printf("%s: threads %d tokens %d layers %d bytes %llu\n", library.flavour(), options.threads, options.tokens, options.layers,
                static_cast<unsigned long long>(options.nbytes));
    if (options.bad) {
        hand_over_bad_inputs(library);
    }
    const auto between = std::make_shared<Between>(options);
    if (options.exit_busy) {
        std::thread{[library, options, between] { run(library, options, 0, options.tokens, between.get()); }}.detach();
        between->wait_for_middle();
        std::puts("left in the middle");
        leave(options, 0);
    }
    if (options.fork) {
        run_and_fork(library, options, *between);
    } else {
        print_checksum("checksum", run(library, options, 0, options.tokens, between.get()));
    }
    leave(options, 0);
}
