#include "process.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <system_error>

#include "bounded.hpp"
#include "fork.hpp"
#include "libraries.hpp"
#include "paths.hpp"
#include "status.hpp"
#include "text.hpp"

namespace fastcmp::preload {
namespace {

constexpr double kHeartbeatSeconds = 5;

std::atomic<Process*> the_process{nullptr};

double loaded_at = 0;

Count count_of(Outcome outcome) {
    switch (outcome) {
        case Outcome::low_disk: return Count::low_disk;
        case Outcome::stalled: return Count::stalled;
        case Outcome::no_device_copy: return Count::no_device_copy;
        default: return Count::write_failed;
    }
}

std::string sentence_of(const Job& job, Outcome outcome) {
    switch (outcome) {
        case Outcome::low_disk: return "skipped, too little space is left on the disk; see FASTCMP_MIN_FREE";
        case Outcome::stalled: return "skipped, the disk made no progress; see FASTCMP_MAX_STALL_S";
        case Outcome::no_device_copy: return "the copy from the device failed";
        case Outcome::no_memory: return "skipped, there is no memory for a copy of it";
        default: return std::string{job.failure.step} + ": " + std::error_code{job.failure.error, std::generic_category()}.message();
    }
}

}  // namespace

double seconds_now() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

constinit thread_local bool CallGuard::is_inside_ __attribute__((tls_model("initial-exec"))) = false;

std::mutex Process::making_;

void note_loading() noexcept { loaded_at = seconds_now(); }

Process::Process()
    : pid{::getpid()},
      started{loaded_at},
      settings{read_settings([](const char* name) -> const char* { return std::getenv(name); })},
      registry{[this](std::string_view where, std::string_view why) { lose(Count::list_refused, where, why); }},
      writer{make_writer()} {
    for (std::size_t i = 0; settings.is_on && i < settings.mistakes; ++i) {
        teller.once(settings.problems[i], settings.problems[i]);
    }
    if (settings.lists_count()) {
        for (const auto* list : {&settings.allow_list, &settings.legacy_allow_list}) {
            if (!list->empty()) {
                registry.follow(*list, "", true);
            }
        }
    }
}

Process& Process::get() {
    auto* process = existing();
    if (process == nullptr) {
        const std::lock_guard lock{making_};
        process = existing();
        if (process == nullptr) {
            process = new Process;  // never freed
            the_process.store(process, std::memory_order_release);
        }
    }
    return *process;
}

Process* Process::existing() { return the_process.load(std::memory_order_acquire); }

Writer* Process::make_writer() {
    // Of two tensors with one path the later one must stay.
    const std::size_t threads = settings.resave == Resave::overwrite ? 1 : std::min<std::size_t>(kMaxThreads, std::thread::hardware_concurrency());
    return new Writer{settings.max_stall_s, settings.min_free, threads, [this](const Job& job, Outcome outcome) { ended(job, outcome); },
                      [this] { write_heartbeat(false); }};
}

void Process::lose(Count count, std::string_view where, std::string_view what) {
    counters.add(count);
    explain(count, where, what);
}

void Process::explain(Count count, std::string_view where, std::string_view what) noexcept {
    try {
        const auto text = printable(where) + ": " + std::string{what};
        {
            const std::lock_guard lock{mutex_};
            last_refusal_ = text;
        }
        const auto cause = kCountNames[static_cast<std::size_t>(count)];
        teller.once(std::string{cause} + " " + std::string{what.substr(0, what.find(" in line "))}, text + "; counted from now on");
    } catch (...) {
        return;  // no memory for the words; it is counted
    }
}

void Process::count_call(Call call) {
    if (counters.add(call)) {
        show_heartbeat(false);
    }
}

bool Process::is_list_asked() {
    // The seed's variables let the library's tensors through to whoever selects; only those of libatb select by themselves.
    return settings.select == Select::registered ||
           (settings.select == Select::automatic && (settings.environment.era != Era::atb || registry.has_readable_list()));
}

bool Process::admit(Job& job) {
    const auto before = accepted_bytes_.fetch_add(job.size);
    if (is_full_ || job.size > settings.dump_limit || before > settings.dump_limit - job.size) {
        is_full_ = true;
        lose(Count::over_limit, job.relative, "FASTCMP_DUMP_LIMIT is reached; nothing more is saved");
        return false;
    }
    job.key = TextHash{}(job.root) * 31 + TextHash{}(job.relative);
    std::uint32_t number = 0;
    {
        const std::lock_guard lock{mutex_};
        number = ++saved_paths_[job.key];
    }
    if (number == 1 || settings.resave == Resave::overwrite) {
        return true;
    }
    if (settings.resave == Resave::error) {
        lose(Count::already_saved, job.relative, "saved before, and FASTCMP_RESAVE is error; the first stays");
        return false;
    }
    counters.add(Count::resaved);
    teller.once("resaved", printable(job.relative) + ": saved again by the library; the later one is called " +
                               printable(with_repeat(job.relative, number)) + " (FASTCMP_RESAVE)");
    job.relative = with_repeat(job.relative, number);
    return true;
}

void Process::save(std::unique_ptr<Job> job, const Source& source) {
    if (admit(*job)) {
        writer->save(std::move(job), source);
    }
}

void Process::ended(const Job& job, Outcome outcome) noexcept {
    if (outcome == Outcome::saved) {
        counters.add(job.size == 0 ? Count::description_only : Count::saved);
        counters.add(Count::tensor_bytes, job.size);
    } else {
        counters.add(count_of(outcome));
    }
    try {
        if (outcome != Outcome::saved) {
            free_name(job);
            explain(count_of(outcome), job.root + "/" + job.relative, sentence_of(job, outcome));
        } else if (!job.registered.empty()) {
            registry.mark_saved(job.registered);
        }
    } catch (...) {
        if (outcome == Outcome::saved) {
            counters.add(Count::internal_error);  // its line will be told as one without a tensor
        }
    }
}

void Process::free_name(const Job& job) {
    const std::lock_guard lock{mutex_};
    if (const auto found = saved_paths_.find(job.key); found != saved_paths_.end() && found->second == 1) {
        saved_paths_.erase(found);
    }
}

std::string Process::last_refusal() const {
    const std::lock_guard lock{mutex_};
    return last_refusal_;
}

void Process::show_heartbeat(bool is_ended) {
    if (settings.is_on && !settings.heartbeat_directory.empty() && !is_writing_heartbeat_) {
        do_within(std::min(settings.max_stall_s, kHeartbeatSeconds), [this, is_ended] { write_heartbeat(is_ended); });
    }
}

void Process::write_heartbeat(bool is_ended) noexcept {
    if (!settings.is_on || settings.heartbeat_directory.empty() || is_writing_heartbeat_.exchange(true)) {
        return;
    }
    try {
        const auto text = status_text(*this, is_ended, is_ended);
        TensorFile file;
        if (!file.create(settings.heartbeat_directory, ".fastcmp_probe." + std::to_string(pid), 0, 0, text.size()) &&
            !file.append(text, nullptr, 0)) {
            file.publish();
        }
    } catch (...) {
        counters.add(Count::internal_error);
    }
    is_writing_heartbeat_ = false;
}

void Process::end() {
    writer->close();
    const bool is_concerned = counters.has_calls() || is_followed.load();
    if (!settings.is_on || (!is_concerned && !has_library(settings.libraries))) {
        return;
    }
    registry.refresh();  // what was registered after the library's last question
    show_heartbeat(true);
    std::vector<std::string> losses;
    for (const auto count : kLosses) {
        if (counters[count] != 0) {
            auto name = std::string{kCountNames[static_cast<std::size_t>(count)]};
            std::replace(name.begin(), name.end(), '_', ' ');
            losses.push_back(std::to_string(counters[count]) + " " + name);
        }
    }
    if (const auto left = writer->queued(); left != 0) {
        losses.push_back(std::to_string(left) + " still queued");
    }
    const auto lines = registry.line_count();
    const auto missing = lines - std::min(lines, registry.saved_count());
    if (missing != 0 && (is_concerned || parent_pid == 0)) {  // a child that never called in has lost nothing of its parent's
        losses.push_back(std::to_string(missing) + " of " + std::to_string(lines) + " registered paths have no tensor");
    }
    if (!losses.empty()) {
        teller.say(std::to_string(counters[Count::saved]) + " tensors saved; " + joined(", ", losses) + " (`fastcmp doctor` says why)");
    }
}

// In the child, whose only thread this is: the parent's queue is the parent's, and so is what it counted.
void Process::forked() {
    new (&unregistered) Examples;
    is_writing_heartbeat_ = false;
    parent_pid = pid;
    pid = ::getpid();
    registry.forked(parent_pid, pid);
    is_followed = false;
    accepted_bytes_ = 0;
    is_full_ = false;
    saved_paths_.clear();
    last_refusal_.clear();
    for (auto& count : counters.counts) {
        count = 0;
    }
    for (auto& call : counters.calls) {
        call = 0;
    }
    writer = make_writer();  // the old one stays as it is: its thread, its lock and its pieces belong to the parent
}

}  // namespace fastcmp::preload

namespace {

// Of two copies of this library in one process only the first is called.
bool is_the_one_in_use() {
    const void* used = ::dlsym(RTLD_DEFAULT, "fastcmp_preload_status");
    // The address of our own would be that of the first as well: of an exported function there is one in a process.
    Dl_info first{};
    Dl_info own{};
    return used == nullptr || ::dladdr(used, &first) == 0 || ::dladdr(reinterpret_cast<const void*>(&is_the_one_in_use), &own) == 0 ||
           first.dli_fbase == own.dli_fbase;
}

std::vector<std::string> further_libraries() {
    const char* names = std::getenv("FASTCMP_LIBRARY");
    return fastcmp::preload::split(names == nullptr ? "" : names, ':');
}

// As early as can be: of the handlers that are called before a fork those registered first come last, so that a lock which the host's
// handler waits for is never held by a thread that waits for ours.
__attribute__((constructor)) void fastcmp_preload_begin() noexcept {
    fastcmp::preload::note_loading();
    fastcmp::preload::handle_forks();
}

// A process that ends without having called in still says so where it had an acceleration library: that is what the doctor looks for.
__attribute__((destructor)) void fastcmp_preload_end() noexcept {
    using namespace fastcmp::preload;
    const CallGuard guard;
    if (!guard.is_outermost()) {
        return;  // exit() from within a signal handler that interrupted us: our locks may be held
    }
    try {
        if (is_the_one_in_use() && (Process::existing() != nullptr || has_library(further_libraries()))) {
            Process::get().end();
        }
    } catch (...) {
        return;
    }
}

}  // namespace
