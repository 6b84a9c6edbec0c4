#include "fastcmp/file.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "fastcmp/error.hpp"

namespace fastcmp {
namespace {

namespace fs = std::filesystem;

// O_NONBLOCK: a FIFO without a writer must not block; O_NOCTTY: a terminal must not become ours.
constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

template <typename Call>
auto retry(Call call) {
    auto result = call();
    while (result == -1 && errno == EINTR) {
        result = call();
    }
    return result;
}

std::string describe(int error) { return std::error_code{error, std::generic_category()}.message(); }

/// The code of a call on an open file that failed, whichever it was.
const char* code_of(int error) {
    switch (error) {
        case EACCES:
        case EPERM:
            return "E_PERMISSION";
        case ENOMEM:
            return "E_MEMORY";
        default:
            return "E_IO";
    }
}

[[noreturn]] void throw_missing(const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
        throw ReadError("E_MISSING", ReadError::kNoOffset, "a dangling symbolic link, expected a file where it leads");
    }
    throw ReadError("E_MISSING", ReadError::kNoOffset, "no such file");
}

[[noreturn]] void throw_open_error(int error, const std::string& path) {
    switch (error) {
        case ENOENT:
        case ENOTDIR:
            throw_missing(path);
        case EACCES:
        case EPERM:
            throw ReadError("E_PERMISSION", ReadError::kNoOffset, "permission denied");
        case ELOOP:
            throw ReadError("E_LOOP", ReadError::kNoOffset, "symbolic links without end");
        case ENAMETOOLONG:
            throw ReadError("E_PATH", ReadError::kNoOffset, "the path has " + std::to_string(path.size()) + " bytes, too many for a file name");
        case EISDIR:
        case ENXIO:
        case ENODEV:
            throw ReadError("E_NOT_REGULAR", ReadError::kNoOffset, "a socket or device, expected a regular file");
        case EMFILE:
        case ENFILE:
            throw ReadError("E_OPEN_FILES", ReadError::kNoOffset, "cannot be opened: " + describe(error));
        case ENOMEM:
            throw ReadError("E_MEMORY", ReadError::kNoOffset, "no memory to open the file");
        default:
            throw ReadError("E_IO", ReadError::kNoOffset, "cannot be opened: " + describe(error) + " (errno " + std::to_string(error) + ")");
    }
}

FileIdentity identity_of(const struct stat& status) {
    return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
            static_cast<std::int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec};
}

struct stat status_of(int descriptor) {
    struct stat status {};
    if (retry([&] { return ::fstat(descriptor, &status); }) != 0) {
        const auto error = errno;
        throw ReadError(code_of(error), ReadError::kNoOffset, "fstat failed: " + describe(error));
    }
    return status;
}

const char* kind_of(mode_t mode) {
    switch (mode & S_IFMT) {
        case S_IFDIR: return "a directory";
        case S_IFIFO: return "a FIFO";
        case S_IFCHR: return "a character device";
        case S_IFBLK: return "a block device";
        case S_IFSOCK: return "a socket";
        default: return "not a file";
    }
}

[[noreturn]] void throw_not_regular(mode_t mode) {
    throw ReadError("E_NOT_REGULAR", ReadError::kNoOffset, std::string{kind_of(mode)} + ", expected a regular file");
}

bool lies_in(const std::string& path, const Roots& roots) {
    return std::ranges::any_of(roots, [&](const std::string& root) {
        return path.starts_with(root) && (path.size() == root.size() || root.ends_with('/') || path[root.size()] == '/');
    });
}

/// The path without symbolic links, which lies in a root; where it may be opened.
std::string resolve_in_roots(const std::string& path, const Roots& roots) {
    std::error_code failure;
    const auto real = fs::weakly_canonical(path, failure);
    if (failure) {
        throw_open_error(failure.value(), path);
    }
    const auto absolute = fs::absolute(real, failure).string();
    if (!lies_in(absolute, roots)) {
        if (lies_in(fs::absolute(path, failure).lexically_normal().string(), roots)) {
            throw ReadError("E_LINK_OUTSIDE", ReadError::kNoOffset, "a symbolic link leads to " + quote(absolute) + ", outside the allowed roots");
        }
        throw ReadError("E_PATH_OUTSIDE", ReadError::kNoOffset, "the real path " + quote(absolute) + " lies outside the allowed roots");
    }
    return absolute;
}

/// Opens a resolved path; a link that was put in its way since then is an error, not followed.
int open_resolved(const std::string& path) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(kOpenFlags);
    how.resolve = RESOLVE_NO_SYMLINKS;
    const auto opened = retry([&] { return ::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how); });
    if (opened == -1 && (errno == ENOSYS || errno == EPERM)) {  // an old kernel, or a container that filters the call
        return retry([&] { return ::open(path.c_str(), kOpenFlags | O_NOFOLLOW); });
    }
    return static_cast<int>(opened);
}

/// Where the descriptor really is, whatever happened to the path meanwhile.
void check_opened_path(int descriptor, const Roots& roots) {
    std::error_code failure;
    const auto real = fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor), failure).string();
    if (failure || !lies_in(real, roots)) {
        throw ReadError("E_LINK_OUTSIDE", ReadError::kNoOffset, "the opened file is " + quote(real) + ", outside the allowed roots");
    }
}

}  // namespace

File File::open(const std::string& path, const Roots& roots) {
    if (path.empty() || path.find('\0') != std::string::npos) {
        throw ReadError("E_PATH", ReadError::kNoOffset, path.empty() ? "the path is empty" : "the path has a NUL byte");
    }
    const auto allowed = roots.empty() ? path : resolve_in_roots(path, roots);
    // Opening some devices does something (a watchdog starts, a tape rewinds), so these are looked at first; doing so for all costs 7 us a file.
    struct stat before {};
    if (allowed.find("/dev/") != std::string::npos && ::stat(allowed.c_str(), &before) == 0 && !S_ISREG(before.st_mode)) {
        throw_not_regular(before.st_mode);
    }
    const auto descriptor = roots.empty() ? retry([&] { return ::open(path.c_str(), kOpenFlags); }) : open_resolved(allowed);
    if (descriptor == -1) {
        const auto error = errno;
        // Of a link that leads nowhere nothing is resolved, so that it is itself in the way.
        if (error == ELOOP && !roots.empty() && ::stat(allowed.c_str(), &before) != 0 && errno == ENOENT) {
            throw_missing(allowed);
        }
        throw_open_error(error, path);
    }
    File file{descriptor, {}};
    if (!roots.empty()) {
        check_opened_path(descriptor, roots);
    }
    const auto status = status_of(descriptor);
    if (!S_ISREG(status.st_mode)) {
        throw_not_regular(status.st_mode);
    }
    file.identity_ = identity_of(status);
    return file;
}

File::File(File&& other) noexcept : descriptor_{other.release()}, identity_{other.identity_}, content_{other.content_} {}

File::~File() {
    if (descriptor_ != -1) {
        ::close(descriptor_);
    }
}

int File::release() noexcept { return std::exchange(descriptor_, -1); }

std::size_t File::read_at(std::uint64_t offset, std::span<std::byte> into) const {
    if (!content_.empty()) {
        const auto rest = content_.subspan(std::min<std::size_t>(offset, content_.size()));
        const auto count = std::min(rest.size(), into.size());
        std::copy_n(rest.begin(), count, into.begin());
        return count;
    }
    std::size_t done = 0;
    while (done < into.size()) {
        const auto got = retry([&] {
            return ::pread(descriptor_, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
        });
        if (got == -1) {
            const auto error = errno;
            throw ReadError(code_of(error), static_cast<std::int64_t>(offset + done),
                            "cannot be read: " + describe(error) + " (errno " + std::to_string(error) + ")");
        }
        if (got == 0) {
            break;
        }
        done += static_cast<std::size_t>(got);
    }
    return done;
}

void File::read_exactly(std::uint64_t offset, std::span<std::byte> into) const {
    const auto got = read_at(offset, into);
    if (got != into.size()) {
        throw ReadError("E_SHRUNK", static_cast<std::int64_t>(offset + got),
                        "expected " + std::to_string(into.size()) + " bytes from byte " + std::to_string(offset) + ", got " + std::to_string(got));
    }
}

std::int64_t Room::keep(File& file) {
    const auto size = file.size();
    if (size == 0 || size > largest_ || size > memory_.size() - used_) {
        return kNotKept;
    }
    const auto at = used_;
    const auto content = memory_.subspan(at, static_cast<std::size_t>(size));
    file.read_exactly(0, content);
    file.expect(file.identity());
    file.serve_from(content);
    used_ += content.size();
    return static_cast<std::int64_t>(at);
}

void expect_unchanged(int descriptor, const FileIdentity& expected) {
    const auto now = identity_of(status_of(descriptor));
    if (now == expected) {
        return;
    }
    const bool same_file = now.device == expected.device && now.inode == expected.inode;
    if (same_file && now.size < expected.size) {
        throw ReadError("E_SHRUNK", ReadError::kNoOffset,
                        "the file had " + std::to_string(expected.size) + " bytes when its header was read, now it has " + std::to_string(now.size));
    }
    throw ReadError("E_CHANGED", ReadError::kNoOffset,
                    same_file ? "size or time of the file are not what they were when its header was read"
                              : "another file stands where the header was read");
}

Head read_head(const std::string& path, std::size_t limit, const Roots& roots, Room* room) {
    auto file = File::open(path, roots);
    if (file.size() == 0) {
        throw ReadError("E_EMPTY_FILE", 0, "the file is empty, expected a header");
    }
    const auto kept_at = room == nullptr ? Room::kNotKept : room->keep(file);
    Head head{std::vector<std::byte>(static_cast<std::size_t>(std::min<std::uint64_t>(limit, file.size()))), file.identity(), kept_at};
    file.read_exactly(0, head.bytes);
    return head;
}

std::vector<HeadResult> read_heads(std::span<const std::string> paths, std::size_t limit, const Roots& roots, Room* room) {
    return for_each_file<Head>(paths, [&](const std::string& path) { return read_head(path, limit, roots, room); });
}

void read_range(const std::string& path, const FileIdentity& expected, std::uint64_t offset, std::span<std::byte> into) {
    const auto file = File::open(path, {});
    file.expect(expected);
    file.read_exactly(offset, into);
    file.expect(expected);
}

}  // namespace fastcmp
