#include "directories.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace fastcmp::preload {
namespace {

constexpr int kOpenDirectory = O_PATH | O_DIRECTORY | O_CLOEXEC;  // one that may be written and not listed will do
constexpr mode_t kDirectoryMode = 0750;
constexpr std::size_t kMaxLink = 4096;

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
    explicit Owners(uid_t root) : root_{root} {}
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

int open_or_make(int parent, const std::string& name, bool& is_new) {
    const int flags = kOpenDirectory | O_NOFOLLOW;
    int directory = is_new ? -1 : ::openat(parent, name.c_str(), flags);
    if (is_new || (directory < 0 && errno == ENOENT)) {  // what has just been made is empty
        is_new = ::mkdirat(parent, name.c_str(), kDirectoryMode) == 0;
        if (is_new || errno == EEXIST) {
            directory = ::openat(parent, name.c_str(), flags);
        }
    }
    return directory;
}

// 0 or an errno: another user's directory, or one that anybody may write to, is refused with EPERM.
int check(int directory, const Owners& owners, struct stat& status) {
    if (::fstat(directory, &status) != 0) {
        return errno;
    }
    const bool is_open_to_all = (status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0;
    return owners.trust(status) && !is_open_to_all ? 0 : EPERM;
}

// -1, and errno as it is given.
int refuse(int directory, int error) {
    ::close(directory);
    errno = error;
    return -1;
}

}  // namespace

int Directories::open(const std::string& root, std::string_view below, int own_names) {
    auto wanted = below.empty() ? root : root + "/" + std::string{below};
    forget_what_differs(wanted, root.size(), own_names);
    levels_.reserve(static_cast<std::size_t>(std::count(wanted.begin(), wanted.end(), '/')) + 2);
    int directory = levels_.size() > 1 ? reopen(wanted) : -1;
    if (directory < 0) {
        levels_.clear();
        directory = open_root(root);
        if (directory < 0) {
            return -1;
        }
        struct stat status {};
        root_owner_ = ::fstat(directory, &status) == 0 ? status.st_uid : ::geteuid();
        levels_.push_back({root.size(), status.st_dev, status.st_ino});
    }
    path_ = std::move(wanted);
    own_names_ = own_names;
    return go_down(directory);
}

// Keeps the levels that both paths have.
void Directories::forget_what_differs(const std::string& wanted, std::size_t root_size, int own_names) {
    if (levels_.empty() || levels_.front().size != root_size || own_names_ != own_names) {
        levels_.clear();
        return;
    }
    const auto [end, other_end] = std::mismatch(wanted.begin(), wanted.end(), path_.begin(), path_.end());
    const auto same = static_cast<std::size_t>(end - wanted.begin());
    const auto is_shared = [&](const Level& level) { return level.size <= same && (level.size == wanted.size() || wanted[level.size] == '/'); };
    while (!levels_.empty() && !is_shared(levels_.back())) {
        levels_.pop_back();
    }
}

// The deepest level by its whole path: it is the directory that was gone down to if it is the same inode. -1 if not.
int Directories::reopen(const std::string& wanted) const {
    const auto& level = levels_.back();
    const int directory = ::open(wanted.substr(0, level.size).c_str(), kOpenDirectory);
    if (directory < 0) {
        return -1;
    }
    struct stat status {};
    const int error = check(directory, Owners{root_owner_}, status);
    const bool is_same = status.st_dev == level.device && status.st_ino == level.inode && level.inode != 0;
    return error == 0 && is_same ? directory : refuse(directory, ESTALE);
}

// From the deepest level that is open to the last one of the path.
int Directories::go_down(int directory) {
    const Owners owners{root_owner_};
    bool is_new = false;
    while (levels_.back().size < path_.size()) {
        const auto begin = levels_.back().size + 1;
        const auto end = std::min(path_.find('/', begin), path_.size());
        const auto name = path_.substr(begin, end - begin);
        const bool may_be_link = levels_.size() <= static_cast<std::size_t>(std::max(own_names_, 0));
        int next = open_or_make(directory, name, is_new);
        if (next < 0 && may_be_link && (errno == ELOOP || errno == ENOTDIR)) {
            next = open_link(directory, name, owners);
        }
        if (next < 0) {
            return refuse(directory, errno);
        }
        ::close(directory);
        directory = next;
        struct stat status {};
        if (const int error = check(directory, owners, status); error != 0) {
            return refuse(directory, error);
        }
        levels_.push_back({end, status.st_dev, status.st_ino});
    }
    return directory;
}

}  // namespace fastcmp::preload
