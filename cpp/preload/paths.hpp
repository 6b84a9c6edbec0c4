// The paths that acceleration libraries hand over, taken apart. Nothing here opens a file.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fastcmp::preload {

constexpr std::size_t kMaxPath = 4096;
constexpr std::size_t kMaxComponent = 255;
// A temporary name is the final one and this much more.
constexpr std::size_t kTemporaryExtra = 48;

// Why a relative path may not be written, "" where it may: no "..", no empty or overlong component, no control characters.
std::string_view objection_to(std::string_view relative);

// True for what a library calls the directory of one run: thread_*, {pid}, {pid}_{tid}, {device}_{pid}.
bool is_run_directory(std::string_view name);

// `{token}/{tensor_path}` of a path, that is what follows its run directory; the whole path where it has none.
// `task` is the extra level of AIT_CMP_TASK_ID, "" without it.
std::string_view tail_of(std::string_view path, std::string_view task = {});

// The part of `path` below `directory`, or nothing. Both may be relative; compared as text.
std::optional<std::string_view> below(std::string_view path, std::string_view directory);

// A run directory made this process's own: in a forked child the library may still use the parent's.
std::string own_run_directory(std::string_view run, long parent_pid, long own_pid);
// `path` with the run directory that it begins with, if it does, made so.
std::string with_own_run_directory(std::string_view path, long parent_pid, long own_pid);

// "x/outTensor0.bin" and 2 to "x/outTensor0__r2.bin".
std::string with_repeat(std::string_view path, unsigned long number);

enum class Part { input, output, unknown };
Part part_of(std::string_view path);

// The library of 2023 writes outTensor0.bin, its successor outtensor0.bin: where the letter is that differs, npos in other names.
std::size_t spelled_letter(std::string_view path);

// True if one of the path's components is `name`.
bool has_component(std::string_view path, std::string_view name);

// An absolute path without its last `count` names, and those names; fewer where it has fewer.
std::pair<std::string, std::string> split_base(std::string_view path, int count);

// "" where it is gone.
std::string working_directory();

// `path` with // and /./ taken out.
std::string collapsed(std::string_view path);

}  // namespace fastcmp::preload
