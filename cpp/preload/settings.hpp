// The environment, read: what it selects, where files go, and what in it could not be understood.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fastcmp::preload {

enum class Select { automatic, registered, environment };
enum class Era { none, atb, acltransformer };
enum class Resave { suffix, overwrite, error };

using GetVariable = std::function<const char*(const char*)>;

// What the variables of one era select. Whatever is unset, empty or malformed has the effect that is written beside it in docs/dump.md.
struct EnvironmentSelection {
    Era era = Era::none;
    bool data = false;                // ATB_SAVE_TENSOR=1, ACLTRANSFORMER_SAVE_TENSOR=1
    bool description = false;         // those, and ATB_SAVE_TENSOR=2
    bool every_round = false;         // ATB_SAVE_TENSOR_RANGE=all
    std::vector<std::pair<std::uint64_t, std::uint64_t>> rounds;  // both ends belong to it
    bool every_operation = true;      // neither ids nor runners are given
    std::vector<std::string> ids;     // "0_1_2"
    std::vector<std::string> runners; // prefixes, in lower case for Era::atb
    bool children = false;
    bool before = false;
    bool after = false;
    bool inputs_before_outputs_after = false;
    bool inputs = false;
    bool outputs = false;
    bool tiling = false;
    std::vector<std::string> devices; // empty: all

    bool selects_anything() const;
    bool admits_round(std::uint64_t execute_count) const;
    bool admits_operation(const std::int64_t* ids, std::size_t id_count, std::string_view operation) const;
    bool admits_path(std::string_view relative) const;
};

struct Settings {
    bool is_on = true;
    Select select = Select::automatic;
    EnvironmentSelection environment;
    Resave resave = Resave::suffix;
    std::uint64_t dump_limit = UINT64_MAX;
    std::uint64_t min_free = 2'000'000'000;
    double max_stall_s = 30;          // infinite where 0 was given
    std::string allow_list;           // of another process; "" none
    std::string legacy_allow_list;    // "" none
    std::string task;                 // AIT_CMP_TASK_ID
    std::string output_base;          // ATB_OUTPUT_DIR or the working directory, absolute
    std::string output_below;         // of it, where what is selected in an atb::Probe goes
    std::vector<std::string> legacy_roots;  // as the libraries of 2023 spell them; each ends in tensors
    std::string heartbeat_directory;
    std::vector<std::string> libraries;     // basenames of FASTCMP_LIBRARY
    std::vector<std::string> problems;      // sentences: what was malformed or has no effect, and why nothing is selected
    std::size_t mistakes = 0;               // of these, so many at the beginning are what the user should be told unasked

    bool lists_count() const { return is_on && select != Select::environment; }
    // The environment may select: where it was told to, or by libatb's variables.
    bool environment_counts() const {
        return is_on && (select == Select::environment || (select == Select::automatic && environment.era == Era::atb));
    }
};

Settings read_settings(const GetVariable& get);
std::string describe(const Settings& settings);  // as JSON

std::string_view name_of(Select select);

}  // namespace fastcmp::preload
