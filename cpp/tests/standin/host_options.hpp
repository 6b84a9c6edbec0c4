#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

struct Options {
    int threads = 1;
    int tokens = 4;
    int layers = 2;
    std::uint64_t nbytes = 4096;
    int flow = 0;  // standin_flow
    bool legacy = false;
    bool fork = false;
    bool exit_fast = false;
    bool exit_busy = false;
    bool save_at_exit = false;
    bool bad = false;
    int sleep_ms = 0;
    std::vector<std::pair<std::string, std::string>> registered;  // file, line
    std::uint64_t not_selected = 0;
    bool throughput = false;
    int rounds = 5;
    std::string directory;
    std::string dlopen_flags;  // empty: linked
    std::string dlopen_path;
};

/// Ends the process with status 2 and a message if the arguments make no sense.
Options parse_options(int count, char** arguments);
