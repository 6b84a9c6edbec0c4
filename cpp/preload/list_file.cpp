#include "list_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <system_error>
#include <vector>

namespace fastcmp::preload {
namespace {

// O_NONBLOCK: a FIFO must not block; O_NOFOLLOW: a planted link must not lead elsewhere.
constexpr int kOpenList = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
constexpr std::size_t kReadBytes = 64 * 1024;

// What may be over at the next try: no descriptors or memory left, a file server that was away.
bool is_passing(int error) {
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == EINTR || error == EIO || error == ESTALE;
}

// Why a list is not followed, "" where it is.
std::string_view objection_to(const struct stat& status) {
    if (!S_ISREG(status.st_mode)) {
        return "found no regular file";
    }
    if (status.st_uid != ::geteuid()) {
        return "found a file of another user";
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return "found a file that others may write";
    }
    return {};
}

// The directory of a list: no link, and nobody else may put another file there (a sticky one, such as /tmp, keeps ours ours).
std::string_view objection_to_directory(const std::string& path) {
    struct stat status {};
    const auto slash = path.rfind('/');
    const auto directory = slash == 0 ? std::string{"/"} : path.substr(0, slash);
    if (::lstat(directory.c_str(), &status) != 0) {
        return {};  // the list itself will not be found either
    }
    if (!S_ISDIR(status.st_mode)) {
        return "found a link in place of its directory";
    }
    if (status.st_uid != ::geteuid() && status.st_uid != 0) {
        return "found its directory to be another user's";
    }
    const bool others_write = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (status.st_mode & S_ISVTX) == 0;
    return others_write ? "found its directory open to others" : std::string_view{};
}

}  // namespace

int ListFile::open(const Refuse& refuse) {
    if (is_refused_) {
        return EPERM;
    }
    Descriptor file{::open(path_.c_str(), kOpenList)};
    if (!file.is_open()) {
        const int error = errno;
        if (error == ENOENT || (is_passing(error) && is_told_)) {
            return error;  // tried again at the next question
        }
        is_refused_ = !is_passing(error);
        is_told_ = true;
        const auto reason = "cannot be opened: " + std::error_code{error, std::generic_category()}.message();
        refuse(error == ELOOP ? "found a link, expected a private file; nothing is registered by it" : reason);
        return error;
    }
    struct stat status {};
    auto objection = ::fstat(file.number(), &status) == 0 ? objection_to(status) : "cannot be looked at";
    if (objection.empty()) {
        objection = objection_to_directory(path_);
    }
    if (!objection.empty()) {
        is_refused_ = true;
        refuse(std::string{objection} + ", expected a private one of this user; nothing is registered by it");
        return EPERM;
    }
    file_ = std::move(file);
    consumed_ = seen_ = 0;
    return 0;
}

// True until it is opened.
bool ListFile::has_appeared() const {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);  // 10 ns; lags behind by a few milliseconds
    const auto now_ms = std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
    const std::atomic_ref missed_ms{missed_ms_};
    if (now_ms - missed_ms.load(std::memory_order_relaxed) < kLookEveryMs) {
        return false;
    }
    struct stat status {};
    if (::lstat(path_.c_str(), &status) == 0) {
        return true;
    }
    missed_ms.store(now_ms, std::memory_order_relaxed);
    return false;
}

bool ListFile::has_news() const {
    if (!file_.is_open()) {
        return !is_refused_ && has_appeared();
    }
    struct stat status {};
    return !file_.is_ours(status) || status.st_nlink == 0 || status.st_size != seen_;
}

void ListFile::read_news(const Refuse& refuse, const Line& take) {
    struct stat status {};
    if (file_.is_open() && (!file_.is_ours(status) || status.st_nlink == 0)) {
        file_.close();
    }
    if (!file_.is_open() && open(refuse) != 0) {
        return;
    }
    if (::fstat(file_.number(), &status) == 0 && status.st_size < seen_) {
        consumed_ = seen_ = 0;  // cut and written anew
    }
    std::vector<char> buffer(kReadBytes);
    std::string line;
    bool is_overlong = false;
    auto at = consumed_;
    while (true) {
        const auto count = ::pread(file_.number(), buffer.data(), buffer.size(), at);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return;
        }
        seen_ = at += count;
        std::string_view rest{buffer.data(), static_cast<std::size_t>(count)};
        while (!rest.empty()) {
            const auto end = rest.find('\n');
            is_overlong = is_overlong || line.size() + std::min(end, rest.size()) > kMaxLine;
            if (!is_overlong) {
                line += rest.substr(0, end);
            }
            if (end == std::string_view::npos) {
                break;
            }
            rest.remove_prefix(end + 1);
            consumed_ = at - static_cast<off_t>(rest.size());
            if (is_overlong) {
                refuse("found a line of more than 4096 bytes; it registers nothing");
            } else {
                take(line);
            }
            line.clear();
            is_overlong = false;
        }
    }
}

}  // namespace fastcmp::preload
