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

constexpr int kCreate = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
constexpr mode_t kFileMode = 0640;
constexpr int kNameTries = 4;

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

Failure TensorFile::create(Directories& directories, const std::string& root, const std::string& relative, int own_names,
                           std::uint64_t min_free, std::uint64_t size) {
    const auto slash = relative.rfind('/');
    const auto below = slash == std::string::npos ? std::string_view{} : std::string_view{relative}.substr(0, slash);
    const int directory = directories.open(root, below, own_names);
    if (directory < 0) {
        return {errno, "opening the output directory"};
    }
    directory_ = Descriptor{directory};
    if (!has_room(directory_.number(), min_free, size)) {
        return {ENOSPC, kLowDisk};
    }
    name_ = relative.substr(slash + 1);  // npos + 1 is 0
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
