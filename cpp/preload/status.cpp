#include "status.hpp"

#include <unistd.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "libraries.hpp"
#include "paths.hpp"
#include "process.hpp"
#include "text.hpp"

namespace fastcmp::preload {
namespace {

// To the millisecond, whatever the host's locale.
std::string time_text(double seconds) {
    const auto milliseconds = static_cast<std::int64_t>(seconds * 1000);
    const auto fraction = std::to_string(1000 + milliseconds % 1000);
    return std::to_string(milliseconds / 1000) + "." + fraction.substr(1);
}

std::string program_path() {
    std::string path(kMaxPath, '\0');
    const auto size = ::readlink("/proc/self/exe", path.data(), path.size());
    path.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return path;
}

std::string member(std::string_view name, std::uint64_t value) { return json_string(name) + ": " + std::to_string(value); }

template <typename Names, typename Values>
std::string object(const Names& names, const Values& values) {
    std::vector<std::string> members;
    for (std::size_t i = 0; i < names.size(); ++i) {
        members.push_back(member(names[i], values[i].load(std::memory_order_relaxed)));
    }
    return "{" + joined(", ", members) + "}";
}

std::string libraries_text(const Settings& settings, bool names_only) {
    std::vector<std::string> texts;
    for (const auto& library : loaded_libraries(settings.libraries, names_only)) {
        texts.push_back("{\"path\": " + json_string(library.path) + ", " + member("defines", library.defines) + ", " +
                        member("bound_here", library.bound_here) + ", " + member("bound_to_itself", library.bound_to_itself) + ", " +
                        member("unbound", library.unbound) + "}");
    }
    return "[" + joined(", ", texts) + "]";
}

}  // namespace

std::string status_text(const Process& process, bool is_ended, bool is_thorough) {
    const auto& settings = process.settings;
    const bool has_environment = settings.is_on && settings.environment_counts() && settings.environment.selects_anything();
    const bool has_list = settings.is_on && settings.select != Select::environment && process.registry.has_lists();
    std::vector<std::string> asked;
    for (const auto& path : process.unregistered.kept()) {
        asked.push_back(json_string(path));
    }
    return "{\"fastcmp_preload\": 1, \"version\": " + json_string(FASTCMP_VERSION) + ", " + member("pid", static_cast<std::uint64_t>(process.pid)) +
           ", \"program\": " + json_string(program_path()) + ", " + "\"started\": " + time_text(process.started) +
           ", \"written\": " + time_text(seconds_now()) + ", \"ended\": " + (is_ended ? "true" : "false") +
           ", \"calls\": " + object(kCallNames, process.counters.calls) + ", \"select\": " + json_string(name_of(settings.select)) + ", \"selected_by\": " +
           json_string(has_list ? "registered" : has_environment ? "environment" : "nothing") + ", " +
           member("registered_lines", process.registry.line_count()) + ", " + member("registered_saved", process.registry.saved_count()) +
           ", \"counters\": " + object(kCountNames, process.counters.counts) + ", " + member("queued", process.writer->queued()) +
           ", \"last_refusal\": " + json_string(printable(process.last_refusal(), 500)) + ", \"asked\": [" + joined(", ", asked) +
           "], \"libraries\": " + libraries_text(settings, !is_thorough) + "}\n";
}

}  // namespace fastcmp::preload
