#include "host_options.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "standin.h"

namespace {

constexpr auto kUsage =
    "standin_host [OPTIONS]: runs a model through a stand-in acceleration library and prints a checksum\n"
    "  --threads N --tokens N --layers N --bytes N    how much of it (1, 4, 2, 4096)\n"
    "  --older                 a libatb that never asks IsSaveTensorInSpecificDir\n"
    "  --mki                   a libatb whose tensors are Mki::Tensor: only Probe::SaveTensor sees them\n"
    "  --store asdops|atb      a libatb of November 2023: StoreUtil with whole paths\n"
    "  --legacy                libacltransformer; --legacy-pid, --legacy-store-util: its other builds\n"
    "  --dlopen FLAGS PATH     load the library so; FLAGS of lazy, now, local, global, deepbind, with commas\n"
    "  --bad                   hand over every bad input\n"
    "  --sleep-ms N            between tokens\n"
    "  --register FILE:LINE    append a line between two tokens, the first one after the first token (repeat)\n"
    "  --fork                  fork in the middle, while the threads run; the child runs the second half too\n"
    "  --exit-fast             leave by _exit\n"
    "  --exit-busy             leave by exit while threads still run\n"
    "  --save-at-exit          save once more from a static destructor\n"
    "  --not-selected N        print the ns that each of N offers takes (in every one of --threads)\n"
    "  --throughput            print the seconds of saving --tokens times --layers tensors in each of --threads, and of plain writes\n"
    "  --directory DIR         for the plain files, empty at first; all in it is cut short in between: the library may write there, too\n"
    "  --rounds N              so many (5), after one that is not counted\n";

[[noreturn]] void refuse(const std::string& reason) {
    std::fprintf(stderr, "standin_host: %s\n%s", reason.c_str(), kUsage);
    std::exit(2);
}

class Arguments {
public:
    Arguments(int count, char** arguments) : at_{arguments + 1}, end_{arguments + count} {}

    [[nodiscard]] bool any() const { return at_ != end_; }

    std::string next(std::string_view of) {
        if (!any()) {
            refuse(std::string{of} + " needs a value");
        }
        return *at_++;
    }

    template <typename Number>
    Number number(std::string_view of) {
        const auto text = next(of);
        Number value{};
        const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || rest != text.data() + text.size()) {
            refuse(std::string{of} + " needs a number, got " + text);
        }
        return value;
    }

private:
    char** at_;
    char** end_;
};

std::pair<std::string, std::string> file_and_line(const std::string& text) {
    const auto colon = text.find(':');
    if (colon == std::string::npos) {
        refuse("--register needs FILE:LINE, got " + text);
    }
    return {text.substr(0, colon), text.substr(colon + 1)};
}

int store_flow(const std::string& which) {
    if (which != "asdops" && which != "atb") {
        refuse("--store needs asdops or atb, got " + which);
    }
    return which == "atb" ? STANDIN_STORE_ATB : STANDIN_STORE_ASDOPS;
}

/// True if `option` was one of how much and how to leave.
bool parse_running(const std::string& option, Arguments& arguments, Options& options) {
    if (option == "--threads") {
        options.threads = arguments.number<int>(option);
    } else if (option == "--tokens") {
        options.tokens = arguments.number<int>(option);
    } else if (option == "--layers") {
        options.layers = arguments.number<int>(option);
    } else if (option == "--bytes") {
        options.nbytes = arguments.number<std::uint64_t>(option);
    } else if (option == "--sleep-ms") {
        options.sleep_ms = arguments.number<int>(option);
    } else if (option == "--register") {
        options.registered.push_back(file_and_line(arguments.next(option)));
    } else if (option == "--bad") {
        options.bad = true;
    } else if (option == "--fork") {
        options.fork = true;
    } else if (option == "--exit-fast") {
        options.exit_fast = true;
    } else if (option == "--exit-busy") {
        options.exit_busy = true;
    } else if (option == "--save-at-exit") {
        options.save_at_exit = true;
    } else {
        return false;
    }
    return true;
}

/// True if `option` was one of which library.
bool parse_library(const std::string& option, Arguments& arguments, Options& options) {
    if (option == "--older") {
        options.flow = STANDIN_PROBE_OLDER;
    } else if (option == "--mki") {
        options.flow = STANDIN_PROBE_MKI;
    } else if (option == "--store") {
        options.flow = store_flow(arguments.next(option));
    } else if (option == "--legacy") {
        options.legacy = true;
    } else if (option == "--legacy-pid") {
        options.legacy = true;
        options.flow = STANDIN_LEGACY_PID;
    } else if (option == "--legacy-store-util") {
        options.legacy = true;
        options.flow = STANDIN_LEGACY_STORE_UTIL;
    } else if (option == "--dlopen") {
        options.dlopen_flags = arguments.next(option);
        options.dlopen_path = arguments.next(option);
    } else {
        return false;
    }
    return true;
}

}  // namespace

Options parse_options(int count, char** arguments) {
    Options options;
    for (Arguments rest{count, arguments}; rest.any();) {
        const auto option = rest.next("");
        if (parse_running(option, rest, options) || parse_library(option, rest, options)) {
            continue;
        }
        if (option == "--not-selected") {
            options.not_selected = rest.number<std::uint64_t>(option);
        } else if (option == "--throughput") {
            options.throughput = true;
        } else if (option == "--rounds") {
            options.rounds = rest.number<int>(option);
        } else if (option == "--directory") {
            options.directory = rest.next(option);
        } else if (option == "--help") {
            std::fputs(kUsage, stdout);
            std::exit(0);
        } else {
            refuse("no such option: " + option);
        }
    }
    if (options.threads < 1 || options.tokens < 1 || options.layers < 1) {
        refuse("--threads, --tokens and --layers begin at 1");
    }
    return options;
}
