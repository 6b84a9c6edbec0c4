// The preload library's parts, and all of it from many threads. Exit status 1 if any check failed.

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "check.hpp"
#include "core.hpp"
#include "fastcmp_preload.h"
#include "list_file.hpp"
#include "matches.hpp"
#include "paths.hpp"
#include "pattern_index.hpp"
#include "process.hpp"
#include "registry.hpp"
#include "settings.hpp"
#include "text.hpp"
#include "writer.hpp"

bool save_by_new_abi(const char* path, const void* data, unsigned long size, const char* dims);
bool save_by_old_abi(const char* path, const void* data, unsigned long size, const char* dims);

namespace {

using namespace fastcmp::preload;
using namespace fastcmp::tests;
namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

void append(const fs::path& path, const std::string& text) {
    std::ofstream{path, std::ios::binary | std::ios::app} << text;
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
}

Settings settings_of(const std::map<std::string, std::string>& variables) {
    return read_settings([&](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
    });
}

void test_text() {
    check(parse_bytes("20G") == 20'000'000'000 && parse_bytes("512 MiB") == 512U << 20 && parse_bytes("7") == 7 && parse_bytes("1kb") == 1000,
          "sizes with and without units");
    for (const char* word : {"", "G", "-1", "1.5G", "1GG", "1iB", "99999999999T", "1 0"}) {
        check(!parse_bytes(word), std::string{"no size: "} + word);
    }
    check(json_string("a\"b\\\n\xc3") == "\"a\\\"b\\\\\\u000a\\udcc3\"", "JSON text of any bytes");
}

void test_paths() {
    const std::vector<std::pair<std::string, std::string>> tails{
        {"0_71/3/0_Model/after/outtensor0.bin", "3/0_Model/after/outtensor0.bin"},
        {"3/0_Model/after/outtensor0.bin", "3/0_Model/after/outtensor0.bin"},
        {"71/3/0_Model/x.bin", "3/0_Model/x.bin"},
        {"/home/tensors/thread_140012/3/0_Model/x.bin", "3/0_Model/x.bin"},
        {"atb_temp/tensors/71_72/3/0_Model/x.bin", "3/0_Model/x.bin"},
        {"/a/tensors/b/tensors/71/3/x.bin", "3/x.bin"},
        {"x.bin", "x.bin"},
        {"", ""},
    };
    for (const auto& [path, tail] : tails) {
        check(tail_of(path) == tail, "the tail of '" + path + "', found '" + std::string{tail_of(path)} + "'");
    }
    check(tail_of("/h/tensors/71/71_4/3/x.bin", "71_4") == "3/x.bin", "the task directory is no part of the tail");
    const std::string longest(kMaxComponent, 'x');
    for (const std::string& path : {std::string{}, std::string{"/x"}, std::string{"../x"}, std::string{"a/../x"}, std::string{"a/.."},
                                    std::string{"a//x"}, std::string{"a/"}, std::string{"a\nb"}, std::string{"a\0b", 3}, longest,
                                    std::string(kMaxPath + 1, 'x')}) {
        check(!objection_to(path).empty(), "refused as a path: '" + printable(path, 20) + "'");
    }
    check(objection_to("0_71/3/..x/a..b/outtensor0.bin").empty(), "dots within names are names");
    check(with_repeat("a.b/out0.bin", 2) == "a.b/out0__r2.bin" && with_repeat("a.b/out0", 3) == "a.b/out0__r3" &&
              with_repeat("a/.x", 2) == "a/.x__r2",
          "names of later saves");
    check(with_own_run_directory("0_71/3/x", 71, 80) == "0_80/3/x" && with_own_run_directory("thread_140/3/x", 71, 80) == "thread_140_80/3/x" &&
              with_own_run_directory("0_80/3/x", 71, 80) == "0_80/3/x" && with_own_run_directory("model/x", 71, 80) == "model/x",
          "a forked child has a run directory of its own");
    check(split_base("/h/tensors/thread_7", 2) == std::pair<std::string, std::string>{"/h", "tensors/thread_7"} &&
              split_base("/tensors/x", 2) == std::pair<std::string, std::string>{"/", "tensors/x"} &&
              split_base("/x", 2) == std::pair<std::string, std::string>{"/", "x"},
          "what the user named, and what is below it");
    check(collapsed("./a//b/./c") == "a/b/c" && collapsed("//a/") == "/a", "paths without what means nothing");
}

void test_settings() {
    const auto unset = settings_of({});
    check(unset.is_on && unset.select == Select::automatic && !unset.environment.selects_anything() && !unset.problems.empty(),
          "an empty environment selects nothing and says why");
    const auto all = settings_of({{"ATB_SAVE_TENSOR", "1"}, {"ATB_SAVE_TENSOR_RANGE", "0,2,9,9"}, {"ATB_SAVE_TENSOR_PART", "2"}});
    check(all.environment.selects_anything() && all.environment.admits_round(2) && !all.environment.admits_round(3) &&
              all.environment.admits_round(9) && all.problems.empty(),
          "ranges include both ends");
    const auto ids = settings_of({{"ATB_SAVE_TENSOR", "1"}, {"ATB_SAVE_TENSOR_IDS", "0_1,5"}, {"ATB_SAVE_TENSOR_RUNNER", "Norm"}});
    const std::vector<std::int64_t> exact{0, 1};
    const std::vector<std::int64_t> child{0, 1, 2};
    check(ids.environment.admits_operation(exact.data(), 2, "Linear") && !ids.environment.admits_operation(child.data(), 3, "Linear") &&
              ids.environment.admits_operation(child.data(), 3, "NORMOperation"),
          "ids exactly, or the beginning of the operation in any case");
    const auto seed = settings_of({{"ACLTRANSFORMER_SAVE_TENSOR", "1"}, {"ACLTRANSFORMER_SAVE_TENSOR_RUNNER", "NormOps"}});
    check(seed.environment.admits_round(0) && !seed.environment.admits_round(1) && seed.environment.admits_operation(nullptr, 0, "NormOpsRunner") &&
              !seed.environment.admits_operation(nullptr, 0, "normOpsRunner"),
          "the seed's variables: one round by default, prefixes as they are spelled");
    for (const char* off : {"0", "off", "No", "FALSE"}) {
        check(!settings_of({{"FASTCMP_DUMP", off}}).is_on, std::string{"off: "} + off);
    }
}

void test_patterns(const fs::path& folder) {
    const auto finds = [](std::string_view pattern, std::string_view path) {
        PatternIndex<int> index;
        index.emplace(pattern, 1);
        return index.find(path) != nullptr;
    };
    check(finds("0/0_M/*_L/6_N/x.bin", "0/0_M/12_L/6_N/x.bin") && !finds("0/0_M/*_L/x.bin", "0/0_M/_L/x.bin") && !finds("0/1*_L/x", "0/12_L/x") &&
              !finds("0/*_L/x", "0/a_L/x") && finds("*/x", "7/x") && !finds("*", "7/x") && !finds("**/x", "12/x") && !finds("*/x", "*/x") &&
              !finds("7_*/x", "07_1/x"),
          "a star stands for one whole run of digits");
    // Against the slow truth, over a small alphabet so that much is alike.
    std::mt19937 random{7};
    const auto text = [&](bool is_pattern) {
        constexpr std::string_view kParts[] = {"0", "1", "12", "_L", "_N", "/", "a", "*", "**"};
        std::string made;
        for (auto left = 1 + random() % 7; left != 0; --left) {
            made += kParts[random() % (is_pattern ? 9 : 7)];
        }
        return made;
    };
    int wrong = 0;
    int found = 0;
    for (int round = 0; round < 300; ++round) {
        PatternIndex<int> index;
        std::vector<std::string> patterns;
        for (int i = 0; i < 40; ++i) {
            patterns.push_back(text(true));
            index.emplace(patterns.back(), i);
        }
        for (int i = 0; i < 200; ++i) {
            const auto path = text(false);
            const auto* value = index.find(path);
            const auto fits = [&](const std::string& pattern) { return matches(pattern, path); };
            wrong += (value != nullptr) == std::any_of(patterns.begin(), patterns.end(), fits) ? 0 : 1;
            wrong += value == nullptr || matches(patterns[static_cast<std::size_t>(*value)], path) ? 0 : 1;
            found += value == nullptr ? 0 : 1;
        }
    }
    check(wrong == 0 && found > 1000, std::to_string(wrong) + " paths are not found as one pattern at a time finds them, of " + std::to_string(found));
    // Alike but for one number that is written out: reading them took a time that grew with their square.
    Registry registry{[](std::string_view, std::string_view) {}};
    const auto list = folder / "patterns.txt";
    std::string lines;
    constexpr int kPatterns = 50'000;
    for (int i = 0; i < kPatterns; ++i) {
        lines += "0/0_M/*_L/" + std::to_string(i) + "_N/after/x.bin\n";
    }
    append(list, lines);
    check(registry.follow(list.string(), "/run", false) == 0 && registry.line_count() == kPatterns &&
              registry.find("0/0_M/3_L/49999_N/after/x.bin").has_value() && !registry.find("0/0_M/3_L/50000_N/after/x.bin") &&
              registry.has_directory("0/0_M/3_L/7_N") && registry.has_directory("0/0_M/3_L/7_N/after") && registry.has_directory("0/0_M") &&
              !registry.has_directory("0/0_M/3_L/50000_N") && !registry.has_directory("0/0_M/3_L/7_N/after/x.bin"),
          "patterns that are alike but for a number, and the directories above them");
}

// A list that was not there is looked for again every 10 ms, by a clock that moves every few.
constexpr std::chrono::milliseconds kLookedForAgain{25};

void test_registry(const fs::path& folder) {
    int refusals = 0;
    Registry registry{[&](std::string_view, std::string_view) { ++refusals; }};
    const auto list = folder / "paths.txt";
    check(registry.follow(list.string(), "/run", false) == ENOENT, "a list that must be there");
    check(registry.follow(list.string(), "/run", true) == 0 && !registry.has_readable_list(), "a list that may come later");
    append(list, "0/0_M/1_L/after/x.bin\n0/0_M/2_L/after/x.b");
    std::this_thread::sleep_for(kLookedForAgain);
    check(registry.find("0/0_M/1_L/after/x.bin")->run_directory == "/run" && !registry.find("0/0_M/2_L/after/x.b"), "whole lines only");
    append(list, "in\n3/*_L/before/x.bin\n../x\n" + std::string(5000, 'x') + "\n");
    check(registry.find("0/0_M/2_L/after/x.bin").has_value() && registry.find("3/17_L/before/x.bin").has_value(), "what was appended counts");
    check(refusals == 2 && registry.line_count() == 4 - 1, "bad lines are refused and the others stay");
    check(registry.has_token(3) && !registry.has_token(4) && registry.has_directory("0/0_M/2_L") && registry.has_directory("3/17_L/before") &&
              !registry.has_directory("0/0_M/3_L") && registry.has_before() && registry.has_after(),
          "tokens and directories of what is registered");
    registry.mark_saved("3/17_L/before/x.bin");
    registry.mark_saved("3/18_L/before/x.bin");
    check(registry.saved_count() == 1, "a pattern is saved once");
    append(list, "5/*_L/outTensor0.bin\n5/a/intensor1.bin\n");
    check(registry.find("5/1_L/outtensor0.bin")->tail == "5/1_L/outTensor0.bin" && registry.find("5/a/inTensor1.bin")->tail == "5/a/intensor1.bin" &&
              registry.find("5/a/intensor1.bin").has_value() && !registry.find("5/A/intensor1.bin"),
          "both eras' spelling of a tensor is one name, written as registered");
    check(!registry.has_token(6) && registry.has_token(5) && registry.has_token(3) && registry.has_token(5), "no token but those registered");
    append(list, "6/*_L/after/y.bin\n*/9_L/*_K/y.bin\n");
    check(registry.has_directory("6/2_L/after") && !registry.has_directory("5/2_L/after") && registry.find("6/2_L/after/y.bin").has_value() &&
              !registry.find("5/2_L/after/y.bin") && registry.find("77/9_L/1_K/y.bin").has_value() && registry.has_token(77),
          "patterns of one token, and one of any");
    const auto later = folder / "later.txt";
    append(later, "0/0_M/1_L/after/x.bin\n3/*_L/before/x.bin\n");
    check(registry.follow(later.string(), "/child", false) == 0 && registry.find("0/0_M/1_L/after/x.bin")->run_directory == "/child" &&
              registry.find("3/4_L/before/x.bin")->run_directory == "/child" && registry.find("0/0_M/2_L/after/x.bin")->run_directory == "/run",
          "of two lists with one path the later counts");
    const auto open = folder / "open.txt";
    append(open, "0/x\n");
    fs::permissions(open, fs::perms::all);
    check(registry.follow(open.string(), "", false) == EPERM, "a list that others may write is refused");
    fs::create_symlink(list, folder / "link.txt");
    check(registry.follow((folder / "link.txt").string(), "", false) == ELOOP, "a link is refused");
    check(::mkfifo((folder / "fifo.txt").c_str(), 0600) == 0 && registry.follow((folder / "fifo.txt").string(), "", false) == EPERM,
          "a FIFO is refused at once");
}

#ifdef __SANITIZE_THREAD__
constexpr bool kIsThreadSanitized = true;
#else
constexpr bool kIsThreadSanitized = false;
#endif
void test_list_file(const fs::path& folder) {
    const auto path = folder / "cut.txt";
    append(path, "0/a.bin\n0/b.bin\n");
    ListFile file{path.string()};
    const auto refuse = [](std::string_view) {};
    std::string lines;
    const auto take = [&](std::string_view line) { lines += std::string{line} + ";"; };
    check(file.has_news() && file.open(refuse) == 0, "a list that is there is news");
    file.read_news(refuse, take);
    check(lines == "0/a.bin;0/b.bin;" && !file.has_news(), "a list that was read is none");
    fs::resize_file(path, 0);
    check(file.has_news(), "a list that was cut is news");
    file.read_news(refuse, take);
    check(!file.has_news(), "and none once it was looked at: nobody takes the lock for it again");
    append(path, "0/c.bin\n");
    file.read_news(refuse, take);
    check(lines == "0/a.bin;0/b.bin;0/c.bin;" && !file.has_news(), "it is read anew from its beginning");
}

void test_missing_list(const fs::path& folder) {
    const auto path = folder / "missing.txt";
    const auto nothing = [](auto&&...) {};
    ListFile file{path.string()};
    check(!file.has_news(), "a list that is not there is no news");
    append(path, "0/a.bin\n");
    std::this_thread::sleep_for(kLookedForAgain);
    check(file.has_news() && file.has_news(), "one that has appeared is, until it is opened");
    file.read_news(nothing, nothing);
    append(path, "0/b.bin\n");
    check(file.has_news(), "and each line of it at once from then on");

    Registry registry{nothing};
    const auto followed = folder / "missing too.txt";
    check(registry.follow(followed.string(), "", true) == 0 && !registry.find("0/a.bin"), "a question looks for a list in vain");
    append(followed, "0/a.bin\n");
    check(registry.follow(followed.string(), "/run", false) == 0 && registry.find("0/a.bin").has_value(), "it is there at once for who follows it");
    const auto last = folder / "last.txt";
    check(registry.follow(last.string(), "", true) == 0 && !registry.find("0/b.bin"), "another question looks for another one in vain");
    append(last, "0/b.bin\n");
    registry.refresh();
    check(registry.line_count() == 2, "at the end of a process it is looked for whenever that was");
}

constexpr int kThreads = 16;
constexpr int kSaves = 1000;

std::string tail(int thread, int number) {
    return std::to_string(number % 4) + "/" + std::to_string(thread) + "_M/" + std::to_string(number) + "_L/after/outtensor0.bin";
}

std::vector<char> tensor(int thread, int number) {
    std::vector<char> data(static_cast<std::size_t>(number % 7 == 0 ? 40'000 : 256), static_cast<char>(thread * 31 + number));
    return data;
}

std::string expected(const std::vector<char>& data) {
    const auto size = std::to_string(data.size());
    return "$Version=1.0\n$Object.Count=1\n$Object.Length=" + size + "\nformat=2\ndtype=0\ndims=" + std::to_string(data.size() / 4) +
           "\n$Object.data=0," + size + "\n$End=1\n" + std::string(data.begin(), data.end());
}

void save_all(int thread) {
    for (int number = 0; number < kSaves; ++number) {
        const auto data = tensor(thread, number);
        const auto save = (thread + number) % 2 == 0 ? save_by_new_abi : save_by_old_abi;
        save(("0_71/" + tail(thread, number)).c_str(), data.data(), data.size(), std::to_string(data.size() / 4).c_str());
    }
}

// Half of the tensors is registered, half of those while the threads run.
void test_threads(const fs::path& folder) {
    const auto list = folder / "list.txt";
    const auto run = folder / "tensors" / "thread_1";
    const auto register_part = [&](int part) {
        for (int thread = 0; thread < kThreads; ++thread) {
            std::string lines;
            for (int number = part; number < kSaves; number += 4) {
                lines += tail(thread, number) + "\n";
            }
            append(list, lines);
        }
    };
    register_part(0);
    check(fastcmp_preload_follow(list.c_str(), run.c_str()) == 0, "a list is followed");
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back(save_all, thread);
    }
    register_part(2);
    if (const auto child = ::fork(); child == 0) {
        if (kIsThreadSanitized) {
            ::_exit(0);  // it cannot follow a thread that starts after such a fork
        }
        save_by_new_abi("0_71/0/0_M/0_L/after/outtensor0.bin", "abcd", 4, "1");
        ::_exit(fastcmp_preload_drain(60) == 0 && Process::get().counters[Count::saved] == 1 ? 0 : 1);
    } else {
        int status = 1;
        check(child > 0 && ::waitpid(child, &status, 0) == child && status == 0, "a child of a fork in the middle saves on its own");
        check(kIsThreadSanitized || fs::exists(run.string() + "_" + std::to_string(child) + "/0/0_M/0_L/after/outtensor0.bin"), "and in a directory of its own");
    }
    for (auto& thread : threads) {
        thread.join();
    }
    check(fastcmp_preload_drain(120) == 0, "everything is on disk in the end");
    int wrong = 0;
    int extra = 0;
    for (int thread = 0; thread < kThreads; ++thread) {
        for (int number = 0; number < kSaves; ++number) {
            const auto path = run / tail(thread, number);
            if (number % 2 == 1) {
                extra += fs::exists(path) ? 1 : 0;
            } else if (number % 4 == 0 || fs::exists(path)) {
                wrong += contents(path) == expected(tensor(thread, number)) ? 0 : 1;
            }
        }
    }
    check(wrong == 0, std::to_string(wrong) + " files are not what was saved");
    check(extra == 0, std::to_string(extra) + " files were never asked for");
    int left = 0;
    for (const auto& entry : fs::recursive_directory_iterator{run}) {
        left += entry.path().extension() == ".tmp" ? 1 : 0;
    }
    check(left == 0, "no temporary file is left");
    auto& counters = Process::get().counters;
    check(counters[Count::offered] == kThreads * kSaves && counters[Count::saved] + counters[Count::not_selected] == kThreads * kSaves,
          "every offer is counted once");
}

std::unique_ptr<Job> job_of(const fs::path& root, const std::string& relative, const std::string& header, std::size_t size) {
    auto job = std::make_unique<Job>();
    job->root = root.string();
    job->relative = relative;
    job->header = header;
    job->size = size;
    return job;
}

// Tensors of several pieces, from several threads, by several: each is whole and in order, whoever wrote its pieces.
void test_writer(const fs::path& folder) {
    constexpr int kSaving = 4;
    constexpr int kEach = 5;
    constexpr std::size_t kBytes = 3 * kPieceBytes + 17;
    const auto root = folder / "writer";
    std::atomic<int> saved{0};
    const auto count = [&](const Job&, Outcome outcome) { saved += outcome == Outcome::saved ? 1 : 0; };
    const auto name = [](int thread, int number) { return std::to_string(thread) + "/" + std::to_string(number) + ".bin"; };
    const auto data = [](int thread, int number) {
        std::string bytes(kBytes, '\0');
        for (std::size_t at = 0; at < kBytes; ++at) {
            bytes[at] = static_cast<char>(at / kPieceBytes * 64 + at % 61 + static_cast<std::size_t>(thread * kEach + number));
        }
        return bytes;
    };
    Writer writer{30, 0, 4, count, [] {}};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kSaving; ++thread) {
        threads.emplace_back([&, thread] {
            for (int number = 0; number < kEach; ++number) {
                const auto bytes = data(thread, number);
                writer.save(job_of(root, name(thread, number), "head", bytes.size()), {bytes.data(), {}});
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    check(writer.drain(60) && writer.queued() == 0 && saved == kSaving * kEach, "several threads write everything");
    int wrong = 0;
    for (int thread = 0; thread < kSaving; ++thread) {
        for (int number = 0; number < kEach; ++number) {
            wrong += contents(root / name(thread, number)) == "head" + data(thread, number) ? 0 : 1;
        }
    }
    check(wrong == 0, std::to_string(wrong) + " tensors of several pieces are not what was saved");
    writer.close();
    writer.save(job_of(root, "late.bin", "head", 4), {"data", {}});
    check(contents(root / "late.bin") == "headdata", "after the end the caller writes");

    Writer in_order{30, 0, 1, count, [] {}};
    for (int number = 0; number < 200; ++number) {
        const auto text = std::to_string(number);
        in_order.save(job_of(root, "same.bin", "", text.size()), {text.data(), {}});
    }
    in_order.close();
    check(contents(root / "same.bin") == "199", "one thread writes in the order of the calls");
}

// A list whose lines are refused grows while threads ask and the program forks: every fork comes back.
void test_forks(const fs::path& folder) {
    const auto list = folder / "list.txt";
    std::atomic<bool> is_over{false};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&, thread] {
            for (int number = 0; !is_over; ++number) {
                append(list, "../refused" + std::to_string(number) + "\n");
                save_by_new_abi(("0_71/8/" + std::to_string(thread) + "_M/x.bin").c_str(), "abcd", 4, "1");
                fastcmp_preload_status(nullptr, 0);
            }
        });
    }
    int returned = 0;
    for (int fork_number = 0; fork_number < 50; ++fork_number) {
        const auto child = ::fork();
        if (child == 0) {
            if (kIsThreadSanitized) {
                ::_exit(0);
            }
            const bool is_needed = is_round_needed(0);
            ::_exit(fastcmp_preload_status(nullptr, 0) != 0 && is_needed ? 0 : 1);
        }
        int status = 1;
        returned += ::waitpid(child, &status, 0) == child && status == 0 ? 1 : 0;
    }
    is_over = true;
    for (auto& thread : threads) {
        thread.join();
    }
    check(returned == 50, "forks while lines are refused: " + std::to_string(returned) + " of 50 children asked and ended");
}

void test_bad_calls(const fs::path& folder) {
    auto& counters = Process::get().counters;
    const auto list = folder / "list.txt";
    append(list, "9/a/x.bin\n9/b/x.bin\n9/c/x.bin\n");
    save_by_new_abi("9/a/x.bin", nullptr, 8, "2");
    save_by_old_abi("9/b/x.bin", "", std::uint64_t{11} << 30, "2");
    save_by_new_abi("9/c/x.bin", "abcd", 4, "1\n$Object.data=0,0");
    save_by_new_abi("", "abcd", 4, "1");
    save_by_new_abi("../../x.bin", "abcd", 4, "1");
    save_tensor(Abi::cxx11, {nullptr, 0}, {nullptr, 0}, {nullptr, 0}, nullptr, 0, {nullptr, 0});
    is_tensor_needed(Abi::old, nullptr, 1000, {nullptr, 0});
    check(fastcmp_preload_drain(60) == 0 && counters[Count::no_data] == 1 && counters[Count::refused_size] == 1 &&
              counters[Count::refused_attributes] == 1,
          "bad arguments are counted by cause");
    check(contents(folder / "tensors/thread_1/9/a/x.bin") ==
              "$Version=1.0\n$Object.Count=0\n$Object.Length=0\nformat=2\ndtype=0\ndims=2\n$End=1\n",
          "a tensor without data leaves its description");
    check(fastcmp_preload_follow(nullptr, nullptr) == EINVAL && fastcmp_preload_follow("x", "") == EINVAL, "a relative list is refused");
    char small[8];
    check(fastcmp_preload_status(small, sizeof small) > sizeof small && small[7] == '\0', "a status that is cut ends with its NUL");
}

int run_all(const fs::path& folder) {
    test_text();
    test_paths();
    test_settings();
    test_registry(folder);
    test_list_file(folder);
    test_missing_list(folder);
    test_patterns(folder);
    test_writer(folder);
    test_threads(folder);
    test_bad_calls(folder);
    test_forks(folder);
    return summed_up();
}

}  // namespace

int main() {
    const auto folder = fs::temp_directory_path() / ("fastcmp_test_preload_" + std::to_string(::getpid()));
    fs::create_directories(folder);
    fs::permissions(folder, fs::perms::owner_all);
    for (const char* name : {"FASTCMP_DUMP", "FASTCMP_SELECT", "ATB_SAVE_TENSOR", "ACLTRANSFORMER_SAVE_TENSOR", "FASTCMP_ALLOWLIST"}) {
        ::unsetenv(name);
    }
    ::setenv("FASTCMP_DUMP_DIR", folder.c_str(), 1);
    ::setenv("ATB_OUTPUT_DIR", folder.c_str(), 1);
    ::setenv("FASTCMP_MIN_FREE", "0", 1);
    // In a process of its own: the library writes its last word when that ends, and only then may the folder go.
    const auto child = ::fork();
    if (child == 0) {
        return run_all(folder);
    }
    int status = 1;
    ::waitpid(child, &status, 0);
    fs::remove_all(folder);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
