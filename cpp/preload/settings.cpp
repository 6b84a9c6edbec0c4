#include "settings.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <limits>

#include "paths.hpp"
#include "text.hpp"

namespace fastcmp::preload {
namespace {

// One variable; an empty one counts as unset.
class Environment {
public:
    explicit Environment(const GetVariable& get) : get_{get} {}

    std::string operator()(const char* name) const {
        const char* value = get_(name);
        return value == nullptr ? std::string{} : std::string{value};
    }
    bool has(const char* name) const { return !(*this)(name).empty(); }

private:
    const GetVariable& get_;
};

bool is_off(const std::string& word) {
    const auto value = lowered(trimmed(word));
    return value == "0" || value == "off" || value == "no" || value == "false";
}

std::string absolute(const std::string& path) {
    if (path.starts_with('/')) {
        return collapsed(path);
    }
    const auto here = working_directory();
    if (here.empty()) {
        return {};
    }
    const auto joined = collapsed(here + "/" + path);
    return joined.size() > 1 && joined.ends_with('/') ? joined.substr(0, joined.size() - 1) : joined;
}

void complain(Settings& settings, std::string sentence) { settings.problems.push_back(std::move(sentence)); }

std::string found(const char* name, const std::string& value, std::string_view expected) {
    return std::string{name} + ": found '" + printable(value, 80) + "', expected " + std::string{expected};
}

void read_rounds(const Environment& get, Settings& settings) {
    const auto text = get("ATB_SAVE_TENSOR_RANGE");
    auto& selection = settings.environment;
    if (text.empty()) {
        complain(settings, "ATB_SAVE_TENSOR_RANGE is not set: no round is in range");
        return;
    }
    if (lowered(trimmed(text)) == "all") {
        selection.every_round = true;
        return;
    }
    const auto parts = split(text, ',');
    if (parts.empty()) {
        complain(settings, found("ATB_SAVE_TENSOR_RANGE", text, "first,last[,first,last...] or all; no round is in range"));
    }
    for (std::size_t i = 0; i < parts.size(); i += 2) {
        const auto first = parse_integer<std::uint64_t>(parts[i]);
        const auto last = i + 1 < parts.size() ? parse_integer<std::uint64_t>(parts[i + 1]) : std::nullopt;
        if (!first || !last || *first > *last) {
            const auto pair = parts[i] + (i + 1 < parts.size() ? "," + parts[i + 1] : "");
            complain(settings, found("ATB_SAVE_TENSOR_RANGE", pair, "first,last[,first,last...] or all; this pair selects no round"));
        } else {
            selection.rounds.emplace_back(*first, *last);
        }
    }
}

void read_time_and_part(const Environment& get, Settings& settings) {
    auto& selection = settings.environment;
    const auto time = get("ATB_SAVE_TENSOR_TIME");
    selection.inputs_before_outputs_after = get("ATB_SAVE_TENSOR_IN_BEFORE_OUT_AFTER") == "1";
    selection.before = selection.inputs_before_outputs_after || time == "0" || time == "2";
    selection.after = selection.inputs_before_outputs_after || !selection.before || time == "2";
    if (!time.empty() && time != "0" && time != "1" && time != "2") {
        complain(settings, found("ATB_SAVE_TENSOR_TIME", time, "0 (before), 1 (after) or 2 (both); 1 is taken"));
    }
    const auto part = get("ATB_SAVE_TENSOR_PART");
    selection.inputs = part == "0" || part == "2";
    selection.outputs = part == "1" || part == "2";
    if (part.empty()) {
        complain(settings, "ATB_SAVE_TENSOR_PART is not set: neither inputs nor outputs are selected");
    } else if (!selection.inputs && !selection.outputs) {
        complain(settings, found("ATB_SAVE_TENSOR_PART", part, "0 (inputs), 1 (outputs) or 2 (both); nothing is selected"));
    }
}

void read_operations(const Environment& get, EnvironmentSelection& selection) {
    selection.ids = split(get("ATB_SAVE_TENSOR_IDS"), ',');
    selection.runners = split(lowered(get("ATB_SAVE_TENSOR_RUNNER")), ',');
    selection.every_operation = selection.ids.empty() && selection.runners.empty();
    const auto child = get("ATB_SAVE_CHILD");
    selection.children = !child.empty() && child != "0";
}

void read_atb(const Environment& get, Settings& settings) {
    auto& selection = settings.environment;
    selection.era = Era::atb;
    const auto what = get("ATB_SAVE_TENSOR");
    selection.data = what == "1";
    selection.description = what == "1" || what == "2";
    if (what == "0") {
        complain(settings, "ATB_SAVE_TENSOR is 0: nothing is selected");
    } else if (!selection.description) {
        complain(settings, found("ATB_SAVE_TENSOR", what, "1 (data) or 2 (description only); nothing is selected"));
    }
    const auto types = split(get("ATB_DUMP_TYPE"), '|');
    if (!types.empty() && std::find(types.begin(), types.end(), "tensor") == types.end()) {
        selection.data = selection.description = false;
        complain(settings, found("ATB_DUMP_TYPE", get("ATB_DUMP_TYPE"), "'tensor' among the words; nothing is selected"));
    }
    read_rounds(get, settings);
    read_operations(get, selection);
    read_time_and_part(get, settings);
    selection.tiling = get("ATB_SAVE_TILING") == "1";
    selection.devices = split(get("ATB_DEVICE_ID"), ',');
    for (const char* name : {"ATB_SAVE_TENSOR_STATISTICS", "ATB_SAVE_SYMLINK"}) {
        if (get(name) == "1") {
            complain(settings, std::string{name} + " has no effect here: every tensor is saved whole");
        }
    }
    if (get.has("ATB_DUMP_CONFIG")) {
        complain(settings, "ATB_DUMP_CONFIG is not read: set the ATB_SAVE_TENSOR variables instead");
    }
}

void read_acltransformer(const Environment& get, Settings& settings) {
    auto& selection = settings.environment;
    selection.era = Era::acltransformer;
    const auto what = get("ACLTRANSFORMER_SAVE_TENSOR");
    selection.data = selection.description = what == "1";
    if (what == "0") {
        complain(settings, "ACLTRANSFORMER_SAVE_TENSOR is 0: nothing is selected");
    } else if (!selection.data) {
        complain(settings, found("ACLTRANSFORMER_SAVE_TENSOR", what, "1; nothing is selected"));
    }
    // A number the library's atoll would make 0 of selects no round there, nor here.
    const auto text = get("ACLTRANSFORMER_SAVE_TENSOR_MAX");
    const auto count = text.empty() ? 1 : std::atoll(text.c_str());
    if (count > 0) {
        selection.rounds.emplace_back(0, static_cast<std::uint64_t>(count) - 1);
    } else {
        complain(settings, found("ACLTRANSFORMER_SAVE_TENSOR_MAX", text, "a number above 0; no round is in range"));
    }
    selection.runners = split(get("ACLTRANSFORMER_SAVE_TENSOR_RUNNER"), ',');
    selection.every_operation = selection.runners.empty();
    selection.after = selection.inputs = selection.outputs = true;
}

void read_selection(const Environment& get, Settings& settings) {
    const auto select = lowered(trimmed(get("FASTCMP_SELECT")));
    if (select == "registered") {
        settings.select = Select::registered;
    } else if (select == "environment") {
        settings.select = Select::environment;
    } else if (!select.empty() && select != "auto") {
        complain(settings, found("FASTCMP_SELECT", select, "registered, environment or auto; auto is taken"));
    }
    if (get.has("ATB_SAVE_TENSOR")) {
        read_atb(get, settings);
    } else if (get.has("ACLTRANSFORMER_SAVE_TENSOR")) {
        read_acltransformer(get, settings);
    } else {
        complain(settings, "neither ATB_SAVE_TENSOR nor ACLTRANSFORMER_SAVE_TENSOR is set");
    }
}

void read_limits(const Environment& get, Settings& settings) {
    const auto resave = lowered(trimmed(get("FASTCMP_RESAVE")));
    if (resave == "overwrite") {
        settings.resave = Resave::overwrite;
    } else if (resave == "error") {
        settings.resave = Resave::error;
    } else if (!resave.empty() && resave != "suffix") {
        complain(settings, found("FASTCMP_RESAVE", resave, "suffix, overwrite or error; suffix is taken"));
    }
    const auto read_bytes = [&](const char* name, std::uint64_t& value, std::string_view otherwise) {
        const auto text = get(name);
        if (const auto bytes = parse_bytes(text)) {
            value = *bytes;
        } else if (!text.empty()) {
            complain(settings, found(name, text, "bytes, such as 20G or 512Mi; " + std::string{otherwise}));
        }
    };
    read_bytes("FASTCMP_DUMP_LIMIT", settings.dump_limit, "there is no limit");
    read_bytes("FASTCMP_MIN_FREE", settings.min_free, "2G is taken");
    if (const auto text = get("FASTCMP_MAX_STALL_S"); !trimmed(text).empty()) {
        const auto word = trimmed(text);
        double seconds = 0;  // from_chars: the host's locale may write 2,5
        const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), seconds);
        if (error != std::errc{} || end != word.data() + word.size() || !(seconds >= 0)) {
            complain(settings, found("FASTCMP_MAX_STALL_S", text, "seconds, 0 or more; 30 is taken"));
        } else {
            settings.max_stall_s = seconds == 0 ? std::numeric_limits<double>::infinity() : seconds;
        }
    }
}

void read_places(const Environment& get, Settings& settings) {
    settings.allow_list = get("FASTCMP_ALLOWLIST");
    if (const auto legacy = get("FASTCMP_LEGACY_ALLOWLIST"); !legacy.empty() && !is_off(legacy)) {
        const auto task_pid = get("AIT_CMP_TASK_PID");
        const bool is_plain = !task_pid.empty() && objection_to(task_pid).empty() && task_pid.find('/') == std::string::npos;
        settings.legacy_allow_list = "/tmp/" + (is_plain ? task_pid + "/" : "") + "ait_compare_acl_map.txt";
    }
    settings.task = get("AIT_CMP_TASK_ID");
    const auto stamp = get("ATB_TIMESTAMP");
    const bool stamp_is_plain = !stamp.empty() && objection_to(stamp).empty() && stamp.find('/') == std::string::npos;
    const auto output = get("ATB_OUTPUT_DIR");
    settings.output_base = absolute(output.empty() ? "." : output);
    settings.output_below = "msit_dump" + (stamp_is_plain ? "_" + stamp : std::string{}) + "/tensors";
    const auto home = get("ACLTRANSFORMER_HOME_PATH");
    const auto logs = get("ASDOPS_LOG_TO_FILE_DIR");
    settings.legacy_roots.push_back(home.empty() ? "tensors" : collapsed(home + "/tensors"));
    settings.legacy_roots.push_back(collapsed((logs.empty() ? "atb_temp" : logs) + "/tensors"));
    for (const auto& directory : {get("FASTCMP_DUMP_DIR"), home, output, std::string{"."}}) {
        struct stat status {};
        if (!directory.empty() && settings.heartbeat_directory.empty() && ::stat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
            settings.heartbeat_directory = absolute(directory);
        }
    }
    settings.libraries = split(get("FASTCMP_LIBRARY"), ':');
}

}  // namespace

bool EnvironmentSelection::selects_anything() const {
    return description && (every_round || !rounds.empty()) && (inputs || outputs);
}

bool EnvironmentSelection::admits_round(std::uint64_t execute_count) const {
    return every_round || std::any_of(rounds.begin(), rounds.end(), [=](const auto& round) {
               return round.first <= execute_count && execute_count <= round.second;
           });
}

bool EnvironmentSelection::admits_operation(const std::int64_t* numbers, std::size_t count, std::string_view operation) const {
    if (every_operation) {
        return true;
    }
    if (!ids.empty()) {
        std::string query;
        // An operation lies a few levels deep; nobody asks for one of hundreds.
        for (std::size_t i = 0; i < std::min<std::size_t>(count, 256); ++i) {
            query += i == 0 ? "" : "_";
            query += std::to_string(numbers[i]);
        }
        const auto is_asked = [&](const std::string& id) { return query == id || (children && query.starts_with(id + "_")); };
        if (count <= 256 && std::any_of(ids.begin(), ids.end(), is_asked)) {
            return true;
        }
    }
    const auto name = era == Era::atb ? lowered(operation) : std::string{operation};
    return std::any_of(runners.begin(), runners.end(), [&](const std::string& runner) { return name.starts_with(runner); });
}

bool EnvironmentSelection::admits_path(std::string_view relative) const {
    const auto part = part_of(relative);
    if ((part == Part::input && !inputs) || (part == Part::output && !outputs)) {
        return false;
    }
    if (inputs_before_outputs_after) {
        const bool is_before = has_component(relative, "before");
        const bool is_after = has_component(relative, "after");
        if ((part == Part::input && is_after) || (part == Part::output && is_before)) {
            return false;
        }
    }
    if (!devices.empty()) {
        const auto run = relative.substr(0, relative.find('/'));
        const auto device = run.substr(0, run.find('_'));
        return std::find(devices.begin(), devices.end(), device) != devices.end();
    }
    return true;
}

Settings read_settings(const GetVariable& get_variable) {
    const Environment get{get_variable};
    Settings settings;
    settings.is_on = !is_off(get("FASTCMP_DUMP"));
    if (!settings.is_on) {
        complain(settings, "FASTCMP_DUMP switches the library off");
    }
    read_selection(get, settings);
    read_limits(get, settings);
    read_places(get, settings);
    const auto is_mistake = [](const std::string& problem) {
        return problem.find(": found '") != std::string::npos || problem.find("no effect here") != std::string::npos ||
               problem.find("is not read") != std::string::npos;
    };
    const auto first_other = std::stable_partition(settings.problems.begin(), settings.problems.end(), is_mistake);
    settings.mistakes = static_cast<std::size_t>(first_other - settings.problems.begin());
    return settings;
}

std::string_view name_of(Select select) {
    constexpr std::array<std::string_view, 3> kNames{"auto", "registered", "environment"};
    return kNames[static_cast<std::size_t>(select)];
}

std::string describe(const Settings& settings) {
    constexpr std::array<std::string_view, 3> kEras{"none", "atb", "acltransformer"};
    std::string reasons;
    for (const auto& problem : settings.problems) {
        reasons += (reasons.empty() ? "" : ", ") + json_string(problem);
    }
    const auto flag = [](bool value) { return value ? "true" : "false"; };
    const bool selects = settings.environment_counts() && settings.environment.selects_anything();
    return "{\"version\": " + json_string(FASTCMP_VERSION) + ", \"dump\": " + flag(settings.is_on) + ", \"select\": " + json_string(name_of(settings.select)) +
           ", \"era\": " + json_string(kEras[static_cast<std::size_t>(settings.environment.era)]) + ", \"selects\": " + flag(selects) +
           ", \"reasons\": [" + reasons + "], \"allow_list\": " +
           json_string(settings.allow_list.empty() ? settings.legacy_allow_list : settings.allow_list) +
           ", \"output\": " + json_string(settings.output_base + "/" + settings.output_below) + ", \"min_free\": " + std::to_string(settings.min_free) + "}";
}

}  // namespace fastcmp::preload
