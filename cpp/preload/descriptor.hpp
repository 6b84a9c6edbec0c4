// A descriptor that is kept for a while. The host may close it (some close all that they do not know) and open a file of its own under
// that number, which must then be left alone.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace fastcmp::preload {

class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int number) noexcept : number_{above_standard(number)} {
        struct stat status {};
        if (is_open() && ::fstat(number_, &status) == 0) {
            device_ = status.st_dev;
            inode_ = status.st_ino;
        }
    }
    Descriptor(Descriptor&& other) noexcept
        : number_{std::exchange(other.number_, -1)}, device_{other.device_}, inode_{other.inode_} {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        if (this != &other) {
            close();
            number_ = std::exchange(other.number_, -1);
            device_ = other.device_;
            inode_ = other.inode_;
        }
        return *this;
    }
    ~Descriptor() { close(); }

    int number() const { return number_; }
    bool is_open() const { return number_ >= 0; }
    // Still what it was. A file system that cannot tell gets the benefit of the doubt.
    bool is_ours() const {
        struct stat status {};
        return is_ours(status);
    }
    bool is_ours(struct stat& status) const {
        if (!is_open() || ::fstat(number_, &status) != 0) {
            return is_open() && errno != EBADF;
        }
        return (status.st_dev == device_ && status.st_ino == inode_) || inode_ == 0;
    }
    // 0 or an errno.
    int close() noexcept {
        const bool is_lost = is_open() && !is_ours();
        const int number = std::exchange(number_, -1);
        return is_lost ? EBADF : number >= 0 && ::close(number) != 0 ? errno : 0;
    }

private:
    // 0, 1 and 2 are what a host may print to, also after it has closed them.
    static int above_standard(int number) noexcept {
        if (number < 0 || number > STDERR_FILENO) {
            return number;
        }
        const int error = errno;
        const int higher = ::fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (higher >= 0) {
            ::close(number);
        }
        errno = error;
        return higher >= 0 ? higher : number;
    }

    int number_ = -1;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace fastcmp::preload
