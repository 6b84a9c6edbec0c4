#include "tensor_file.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>

#include "write_signals.hpp"

namespace fastcmp::preload {
namespace {

constexpr int kOpenDirectory = O_PATH | O_DIRECTORY | O_CLOEXEC;  // one that may be written and not listed will do
constexpr int kCreate = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
constexpr mode_t kDirectoryMode = 0750;
constexpr mode_t kFileMode = 0640;
constexpr std::size_t kMaxLink = 4096;
constexpr int kNameTries = 4;
constexpr int kDirectoryTries = 4;
constexpr const char* kOpening = "opening the output directory";

std::atomic<std::uint64_t> word_number{0};

// No other process has it, also not one of the same number in another container.
std::string unique_word() {
    std::uint64_t word = 0;
    if (::getrandom(&word, sizeof word, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof word)) {
        timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        word = static_cast<std::uint64_t>(now.tv_nsec) << 32 ^ static_cast<std::uint64_t>(now.tv_sec) ^ word_number.fetch_add(1) << 52;
    }
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (; text.size() < 16; word >>= 4) {
        text += kDigits[word & 15];
    }
    return text;
}

// The root is the user's own word: made if need be, and its links are followed.
int open_root(const std::string& root) {
    const int directory = ::open(root.c_str(), kOpenDirectory);
    if (directory >= 0 || errno != ENOENT) {
        return directory;
    }
    for (auto end = root.find('/', 1);; end = root.find('/', end + 1)) {
        if (::mkdir(root.substr(0, end).c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
            return -1;
        }
        if (end == std::string::npos) {
            return ::open(root.c_str(), kOpenDirectory);
        }
    }
}

// Whose directories and links below the root are trusted: this user's, and the directories of root and of whoever owns the root.
class Owners {
public:
    explicit Owners(int root) {
        struct stat status {};
        root_ = ::fstat(root, &status) == 0 ? status.st_uid : ::geteuid();
    }
    bool trust(const struct stat& status) const {
        const bool is_others = status.st_uid != ::geteuid();
        return !is_others || (!S_ISLNK(status.st_mode) && (status.st_uid == 0 || status.st_uid == root_));
    }

private:
    uid_t root_;
};

// Where a trusted link leads. It is looked at through a descriptor: what is planted in its place afterwards is not followed.
int open_link(int parent, const std::string& name, const Owners& owners) {
    const int link = ::openat(parent, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (link < 0) {
        return -1;
    }
    struct stat status {};
    std::string target(kMaxLink, '\0');
    const bool is_link = ::fstat(link, &status) == 0 && S_ISLNK(status.st_mode);
    const auto size = is_link ? ::readlinkat(link, "", target.data(), target.size() - 1) : -1;
    ::close(link);
    if (!is_link || size < 0 || !owners.trust(status)) {
        errno = is_link ? EPERM : ENOTDIR;
        return -1;
    }
    target.resize(static_cast<std::size_t>(size));
    return ::openat(parent, target.c_str(), kOpenDirectory);
}

// A directory below the root, made if need be. Another user's, or one that anybody may write to, is refused with EPERM.
int open_below(int parent, const std::string& name, const Owners& owners, bool may_be_link) {
    const int flags = kOpenDirectory | O_NOFOLLOW;
    int directory = ::openat(parent, name.c_str(), flags);
    if (directory < 0 && errno == ENOENT && (::mkdirat(parent, name.c_str(), kDirectoryMode) == 0 || errno == EEXIST)) {
        directory = ::openat(parent, name.c_str(), flags);
    }
    if (directory < 0 && may_be_link && (errno == ELOOP || errno == ENOTDIR)) {
        directory = open_link(parent, name, owners);
    }
    struct stat status {};
    if (directory < 0) {
        return -1;
    }
    const bool is_known = ::fstat(directory, &status) == 0;
    const bool is_open_to_all = (status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0;
    if (is_known && owners.trust(status) && !is_open_to_all) {
        return directory;
    }
    const int error = is_known ? EPERM : errno;
    ::close(directory);
    errno = error;
    return -1;
}

// The directory of `relative`, every one on the way made if need be.
int open_directories(const std::string& root, const std::string& relative, int own_names) {
    int directory = open_root(root);
    if (directory < 0) {
        return -1;
    }
    const Owners owners{directory};
    std::size_t begin = 0;
    for (auto slash = relative.find('/'); slash != std::string::npos; slash = relative.find('/', begin)) {
        const int next = open_below(directory, relative.substr(begin, slash - begin), owners, own_names-- > 0);
        const int error = errno;
        ::close(directory);
        errno = error;
        directory = next;
        if (next < 0) {
            return -1;
        }
        begin = slash + 1;
    }
    return directory;
}

bool has_room(int directory, std::uint64_t min_free, std::uint64_t size) {
    if (min_free == 0) {
        return true;
    }
    struct statvfs status {};
    if (::fstatvfs(directory, &status) != 0) {
        return true;  // the write will tell
    }
    const auto free = static_cast<unsigned __int128>(status.f_bavail) * status.f_frsize;
    return free > min_free && free > static_cast<unsigned __int128>(size) * 2;
}

}  // namespace

std::string tensor_header(std::string_view format, std::string_view dtype, std::string_view dims, std::uint64_t data_size) {
    const auto size = std::to_string(data_size);
    std::string header = "$Version=1.0\n$Object.Count=";
    header += data_size == 0 ? "0" : "1";
    header += "\n$Object.Length=" + size + "\nformat=";
    header += format;
    header += "\ndtype=";
    header += dtype;
    header += "\ndims=";
    header += dims;
    header += data_size == 0 ? "\n" : "\n$Object.data=0," + size + "\n";
    return header + "$End=1\n";
}

Failure TensorFile::create(const std::string& root, const std::string& relative, int own_names, std::uint64_t min_free, std::uint64_t size) {
    int directory = open_directories(root, relative, own_names);
    // Somebody may remove a directory as long as it is empty, as dump_data does with that of its run at its end: it is made again.
    for (int tries = 1; tries < kDirectoryTries && directory < 0 && errno == ENOENT; ++tries) {
        directory = open_directories(root, relative, own_names);
    }
    if (directory < 0) {
        return {errno, kOpening};
    }
    directory_ = Descriptor{directory};
    if (!has_room(directory_.number(), min_free, size)) {
        return {ENOSPC, kLowDisk};
    }
    name_ = relative.substr(relative.rfind('/') + 1);
    int file = -1;
    for (int tries = 0; tries < kNameTries && file < 0; ++tries) {
        temporary_ = "." + name_ + "." + unique_word() + ".tmp";
        file = ::openat(directory_.number(), temporary_.c_str(), kCreate, kFileMode);
        if (file < 0 && errno != EEXIST) {
            break;
        }
    }
    if (file < 0) {
        temporary_.clear();  // nothing of ours to remove
        return {errno, "creating it"};
    }
    file_ = Descriptor{file};
    return {};
}

Failure TensorFile::append(std::string_view header, const char* data, std::size_t size) {
    const WriteSignals held;
    while (!header.empty() || size != 0) {
        if (!file_.is_ours()) {
            return {EBADF, "writing it"};
        }
        iovec parts[2] = {{const_cast<char*>(header.data()), header.size()}, {const_cast<char*>(data), size}};
        const auto done = header.empty() ? ::write(file_.number(), data, size) : ::writev(file_.number(), parts, 2);
        if (done < 0) {
            if (errno == EINTR) {
                continue;
            }
            return {errno, "writing it"};
        }
        const auto count = static_cast<std::size_t>(done);
        const auto of_header = std::min(count, header.size());
        header.remove_prefix(of_header);
        data += count - of_header;
        size -= count - of_header;
    }
    return {};
}

Failure TensorFile::publish() {
    if (const int error = file_.close(); error != 0 && error != EINTR) {  // network file systems report a full disk here
        return {error, "closing it"};
    }
    if (!directory_.is_ours()) {
        return {EBADF, "renaming it"};
    }
    if (::renameat(directory_.number(), temporary_.c_str(), directory_.number(), name_.c_str()) != 0) {
        return {errno, "renaming it"};
    }
    temporary_.clear();
    discard();
    return {};
}

void TensorFile::discard() {
    file_.close();
    if (!temporary_.empty() && directory_.is_ours()) {
        ::unlinkat(directory_.number(), temporary_.c_str(), 0);
    }
    directory_.close();
    temporary_.clear();
}

}  // namespace fastcmp::preload
