#include "paths.hpp"

#include <unistd.h>

#include <algorithm>

#include "text.hpp"

namespace fastcmp::preload {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_number(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_digit); }

std::string_view first_component(std::string_view path) { return path.substr(0, path.find('/')); }

std::string_view rest_after(std::string_view path, std::string_view component) {
    path.remove_prefix(std::min(component.size() + 1, path.size()));
    return path;
}

std::string_view without_task(std::string_view tail, std::string_view task) {
    return !task.empty() && first_component(tail) == task ? rest_after(tail, task) : tail;
}

}  // namespace

std::string_view objection_to(std::string_view relative) {
    if (relative.empty()) {
        return "an empty path";
    }
    if (relative.size() > kMaxPath) {
        return "a path of more than 4096 bytes";
    }
    if (relative.front() == '/') {
        return "an absolute path";
    }
    if (std::any_of(relative.begin(), relative.end(), [](char c) { return (c >= '\0' && c < ' ') || c == '\x7f'; })) {
        return "a control character in the path";
    }
    for (auto rest = relative;;) {
        const auto component = first_component(rest);
        if (component == "..") {
            return "a path with '..'";
        }
        if (component.empty() || component == ".") {
            return "a path without a file name";
        }
        if (component.size() > kMaxComponent - kTemporaryExtra) {
            return "a file name of more than 207 bytes";
        }
        if (component.size() == rest.size()) {
            return {};
        }
        rest = rest_after(rest, component);
    }
}

bool is_run_directory(std::string_view name) {
    constexpr std::string_view kThread = "thread_";
    if (name.starts_with(kThread)) {
        return name.size() > kThread.size();
    }
    while (true) {
        const auto part = name.substr(0, name.find('_'));
        if (!is_number(part)) {
            return false;
        }
        if (part.size() == name.size()) {
            return true;
        }
        name.remove_prefix(part.size() + 1);
    }
}

std::string_view tail_of(std::string_view path, std::string_view task) {
    for (auto rest = path; !rest.empty();) {
        const auto component = first_component(rest);
        const auto below_it = rest_after(rest, component);
        const auto next = first_component(below_it);
        if (component == "tensors" && next.size() < below_it.size() && is_run_directory(next)) {
            return without_task(rest_after(below_it, next), task);
        }
        rest = below_it;
    }
    // A probe is given the path without what comes before the run directory. A lone number there is the token.
    const auto first = first_component(path);
    const auto tail = rest_after(path, first);
    const bool is_run = is_run_directory(first) && (!is_number(first) || is_number(first_component(tail)));
    return is_run && !tail.empty() ? without_task(tail, task) : path;
}

std::optional<std::string_view> below(std::string_view path, std::string_view directory) {
    if (directory.empty() || path.size() <= directory.size() + 1 || !path.starts_with(directory) || path[directory.size()] != '/') {
        return std::nullopt;
    }
    return path.substr(directory.size() + 1);
}

std::string own_run_directory(std::string_view run, long parent_pid, long own_pid) {
    const auto parent = std::to_string(parent_pid);
    const auto own = std::to_string(own_pid);
    const auto mark = run.rfind('_');
    const auto last = mark == std::string_view::npos ? run : run.substr(mark + 1);
    if (last == own || run.starts_with(own + "_")) {
        return std::string{run};
    }
    const auto head = run.substr(0, run.size() - last.size());
    return last == parent ? std::string{head} + own : std::string{run} + "_" + own;
}

std::string with_own_run_directory(std::string_view path, long parent_pid, long own_pid) {
    const auto run = first_component(path);
    if (!is_run_directory(run) || run.size() == path.size()) {
        return std::string{path};
    }
    return own_run_directory(run, parent_pid, own_pid) + std::string{path.substr(run.size())};
}

std::string with_repeat(std::string_view path, unsigned long number) {
    const auto slash = path.rfind('/');
    const auto dot = path.rfind('.');
    const bool has_suffix = dot != std::string_view::npos && (slash == std::string_view::npos || dot > slash + 1);
    const auto stem = has_suffix ? path.substr(0, dot) : path;
    return std::string{stem} + "__r" + std::to_string(number) + std::string{path.substr(stem.size())};
}

Part part_of(std::string_view path) {
    const auto name = lowered(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
    return name.starts_with("intensor") ? Part::input : name.starts_with("outtensor") ? Part::output : Part::unknown;
}

std::size_t spelled_letter(std::string_view path) {
    const auto begin = path.rfind('/') + 1;  // npos + 1 is 0
    const auto name = path.substr(begin);
    for (const std::string_view part : {"in", "out"}) {
        const auto rest = name.substr(std::min(part.size(), name.size()));
        if (name.starts_with(part) && (rest.starts_with("Tensor") || rest.starts_with("tensor"))) {
            return begin + part.size();
        }
    }
    return std::string_view::npos;
}

bool has_component(std::string_view path, std::string_view name) {
    for (auto rest = path; !rest.empty();) {
        const auto component = first_component(rest);
        if (component == name) {
            return true;
        }
        rest = rest_after(rest, component);
    }
    return false;
}

std::pair<std::string, std::string> split_base(std::string_view path, int count) {
    auto slash = path.size();
    for (; count > 0 && slash != 0; --count) {
        slash = path.rfind('/', slash - 1);
    }
    return {slash == 0 ? "/" : std::string{path.substr(0, slash)}, std::string{path.substr(slash + 1)}};
}

std::string working_directory() {
    // On the heap: a thread of the host may have a stack of 16 KiB.
    std::string here(kMaxPath, '\0');
    if (::getcwd(here.data(), here.size()) == nullptr) {
        return {};
    }
    here.resize(here.find('\0'));
    return here;
}

std::string collapsed(std::string_view path) {
    std::string result = path.starts_with('/') ? "/" : "";
    while (!path.empty()) {
        const auto component = first_component(path);
        if (!component.empty() && component != ".") {
            if (!result.empty() && result.back() != '/') {
                result += '/';
            }
            result += component;
        }
        path = rest_after(path, component);
    }
    return result;
}

}  // namespace fastcmp::preload
