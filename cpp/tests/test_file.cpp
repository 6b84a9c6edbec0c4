// Opening and reading files when the system says no. The calls of the reader go through here (linker option --wrap), so that each may fail.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "fastcmp/error.hpp"
#include "fastcmp/file.hpp"

namespace {

// What the next calls give instead of what the system would; each is used up by one call.
struct Plan {
    std::vector<int> open_errors;
    std::vector<int> fstat_errors;
    std::vector<int> openat2_errors;
    std::vector<long> reads;  // -errno, or the most bytes of that read
    mode_t mode = 0;          // of everything that is looked at, if not 0
    std::string opened;       // a path that openat2 opens instead
};
Plan plan;

template <typename Value>
bool take(std::vector<Value>& queue, Value& value) {
    if (queue.empty()) {
        return false;
    }
    value = queue.front();
    queue.erase(queue.begin());
    return true;
}

bool fails(std::vector<int>& errors) {
    int error = 0;
    if (!take(errors, error)) {
        return false;
    }
    errno = error;
    return true;
}

}  // namespace

extern "C" {

int __real_open(const char* path, int flags, ...);
int __real_fstat(int descriptor, struct stat* status);
int __real_stat(const char* path, struct stat* status);
ssize_t __real_pread(int descriptor, void* into, size_t count, off_t offset);
long __real_syscall(long number, ...);

int __wrap_open(const char* path, int flags, ...) { return fails(plan.open_errors) ? -1 : __real_open(path, flags, 0); }

int __wrap_fstat(int descriptor, struct stat* status) {
    if (fails(plan.fstat_errors)) {
        return -1;
    }
    const int result = __real_fstat(descriptor, status);
    if (plan.mode != 0) {
        status->st_mode = plan.mode;
    }
    return result;
}

int __wrap_stat(const char* path, struct stat* status) {
    const int result = __real_stat(path, status);
    if (plan.mode != 0) {
        status->st_mode = plan.mode;
    }
    return result;
}

ssize_t __wrap_pread(int descriptor, void* into, size_t count, off_t offset) {
    long read = 0;
    if (take(plan.reads, read)) {
        if (read < 0) {
            errno = static_cast<int>(-read);
            return -1;
        }
        count = std::min(count, static_cast<size_t>(read));
    }
    return __real_pread(descriptor, into, count, offset);
}

long __wrap_syscall(long number, ...) {
    std::va_list rest;
    va_start(rest, number);
    const auto directory = va_arg(rest, int);
    const auto* path = va_arg(rest, const char*);
    auto* how = va_arg(rest, void*);
    const auto size = va_arg(rest, size_t);
    va_end(rest);
    if (fails(plan.openat2_errors)) {
        return -1;
    }
    return plan.opened.empty() ? __real_syscall(number, directory, path, how, size) : __real_open(plan.opened.c_str(), O_RDONLY | O_CLOEXEC);
}

}  // extern "C"

namespace {

using namespace fastcmp;
using namespace fastcmp::tests;
namespace fs = std::filesystem;

class Folder {
public:
    Folder() : path_{fs::canonical(fs::temp_directory_path()) / ("fastcmp_file_" + std::to_string(::getpid()))} { fs::create_directories(path_ / "in"); }
    ~Folder() { fs::remove_all(path_); }
    std::string write(const std::string& name, const std::string& bytes) const {
        std::ofstream{path_ / name, std::ios::binary} << bytes;
        return at(name);
    }
    std::string link(const std::string& to, const std::string& name) const {
        fs::create_symlink(to, path_ / name);
        return at(name);
    }
    [[nodiscard]] std::string at(const std::string& name) const { return (path_ / name).string(); }

private:
    fs::path path_;
};

/// "ok" or the code of what `call` throws, with its reason.
std::pair<std::string, std::string> outcome(const std::function<void()>& call) {
    try {
        call();
    } catch (const ReadError& error) {
        plan = {};
        return {error.code(), error.reason()};
    }
    plan = {};
    return {"ok", ""};
}

void expect(const std::string& what, const std::string& code, const std::string& reason, const std::function<void()>& call) {
    const auto [got, why] = outcome(call);
    check(got == code && why.find(reason) != std::string::npos, what + ": expected " + code + " '" + reason + "', got " + got + " '" + why + "'");
}

void expect_open(const std::string& what, const std::string& code, const std::string& reason, const std::string& path, const Roots& roots = {}) {
    expect(what, code, reason, [&] { static_cast<void>(File::open(path, roots)); });
}

void test_errors_of_open(const Folder& folder) {
    const auto good = folder.write("good", "0123456789");
    const struct {
        int error;
        const char* code;
        const char* reason;
    } rows[] = {
        {EACCES, "E_PERMISSION", "permission denied"}, {EPERM, "E_PERMISSION", "permission denied"}, {ELOOP, "E_LOOP", "without end"},
        {ENAMETOOLONG, "E_PATH", "too many for a file name"}, {EISDIR, "E_NOT_REGULAR", "socket or device"},
        {ENXIO, "E_NOT_REGULAR", "socket or device"}, {ENODEV, "E_NOT_REGULAR", "socket or device"}, {ENOMEM, "E_MEMORY", "no memory"},
        {EMFILE, "E_OPEN_FILES", "Too many open files"}, {ENFILE, "E_OPEN_FILES", "Too many open files"},
        {EIO, "E_IO", "errno 5"}, {ENOENT, "E_MISSING", "no such file"}, {ENOTDIR, "E_MISSING", "no such file"},
    };
    for (const auto& row : rows) {
        plan.open_errors = {row.error};
        expect_open("errno " + std::to_string(row.error), row.code, row.reason, good);
    }
    plan.open_errors = {EINTR, EINTR};
    expect_open("an interrupted open is tried again", "ok", "", good);
    plan.fstat_errors = {EINTR};
    expect_open("an interrupted fstat is tried again", "ok", "", good);
    plan.fstat_errors = {EIO};
    expect_open("a failing fstat", "E_IO", "fstat failed: Input/output error", good);
    plan.fstat_errors = {ENOMEM};
    expect_open("an fstat without memory", "E_MEMORY", "fstat failed: Cannot allocate memory", good);
    plan.fstat_errors = {EACCES};
    expect_open("an fstat that is not allowed", "E_PERMISSION", "fstat failed: Permission denied", good);
    expect_open("no path", "E_PATH", "is empty", "");
    expect_open("a dangling link", "E_MISSING", "dangling", folder.link("nowhere", "dangling"));
    expect_open("a file as a directory", "E_MISSING", "no such file", good + "/x");
    expect_open("a loop", "E_LOOP", "", folder.link("loop", "loop"));
    const auto socket = folder.at("socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
    const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "a socket to try");
    expect_open("a socket", "E_NOT_REGULAR", "socket or device", socket);
    ::close(listener);
}

void test_kinds(const Folder& folder) {
    const auto good = folder.write("good", "0123456789");
    const std::pair<mode_t, const char*> kinds[] = {
        {S_IFDIR, "a directory"}, {S_IFIFO, "a FIFO"},  {S_IFCHR, "a character device"},
        {S_IFBLK, "a block device"}, {S_IFSOCK, "a socket"}, {S_IFLNK, "not a file"},
    };
    for (const auto& [mode, words] : kinds) {
        plan.mode = mode;
        expect_open(words, "E_NOT_REGULAR", words, good);
    }
    expect_open("a device is not opened", "E_NOT_REGULAR", "a character device", "/dev/null");
    expect_open("what is not there below /dev", "E_MISSING", "no such file", "/dev/nothing_of_this_name");
    fs::create_directories(folder.at("dev/"));
    expect_open("a regular file below another dev", "ok", "", folder.write("dev/good", "1"));
}

void test_roots(const Folder& folder) {
    const auto inside = folder.write("in/good", "0123456789");
    const auto outside = folder.write("good", "0123456789");
    const Roots roots{folder.at("in")};
    expect_open("inside", "ok", "", inside, roots);
    expect_open("the root itself is no file", "E_NOT_REGULAR", "a directory", folder.at("in"), roots);
    expect_open("beside", "E_PATH_OUTSIDE", "outside the allowed roots", outside, roots);
    expect_open("a name that begins as the root", "E_PATH_OUTSIDE", "outside", folder.write("inn", "1"), roots);
    expect_open("any root that fits", "ok", "", inside, {"/nowhere", folder.at("in")});
    expect_open("a root that ends in a slash", "ok", "", inside, {"/"});
    expect_open("a link inside", "ok", "", folder.link("good", "in/link"), roots);
    expect_open("a link that leads out", "E_LINK_OUTSIDE", "leads to", folder.link(outside, "in/out"), roots);
    expect_open("a dangling link inside", "E_MISSING", "dangling", folder.link("nowhere", "in/dangling"), roots);
    expect_open("a loop inside", "E_LOOP", "", folder.link("loop", "in/loop"), roots);
    expect_open("nothing there", "E_MISSING", "no such file", folder.at("in/nothing"), roots);
    for (const int error : {ENOSYS, EPERM}) {
        plan.openat2_errors = {error};
        expect_open("a kernel without openat2", "ok", "", inside, roots);
        plan.openat2_errors = {error};
        plan.open_errors = {EIO};
        expect_open("and a failing open", "E_IO", "errno 5", inside, roots);
    }
    plan.openat2_errors = {EINTR};
    expect_open("an interrupted openat2 is tried again", "ok", "", inside, roots);
    plan.openat2_errors = {ELOOP};
    expect_open("a link that was put in the way", "E_LOOP", "", inside, roots);
    plan.opened = outside;
    expect_open("another file than the path", "E_LINK_OUTSIDE", "the opened file is", inside, roots);
}

void test_reading(const Folder& folder) {
    const auto path = folder.write("good", "0123456789");
    auto file = File::open(path, {});
    std::array<std::byte, 10> bytes{};
    plan.reads = {3, -EINTR, 1, 2};
    check(file.read_at(0, bytes) == 10 && bytes[9] == std::byte{'9'}, "short and interrupted reads are continued");
    plan = {};
    check(file.read_at(7, bytes) == 3, "the end of the file");
    const struct {
        int error;
        const char* code;
        const char* reason;
    } rows[] = {
        {EIO, "E_IO", "Input/output error (errno 5)"},
        {ENOMEM, "E_MEMORY", "Cannot allocate memory (errno 12)"},
        {EACCES, "E_PERMISSION", "Permission denied (errno 13)"},
        {EPERM, "E_PERMISSION", "Operation not permitted (errno 1)"},
    };
    for (const auto& row : rows) {
        expect("a failing read", row.code, row.reason, [&] {
            plan.reads = {4, -row.error};
            static_cast<void>(file.read_at(0, bytes));
        });
    }
    expect("beyond the end", "E_SHRUNK", "expected 10 bytes from byte 5, got 5", [&] { file.read_exactly(5, bytes); });
    auto moved = std::move(file);
    check(moved.size() == 10 && file.release() == -1, "a file that was moved has no descriptor");
    const auto descriptor = moved.release();
    check(::close(descriptor) == 0, "a descriptor that was given away is open");
    expect("an empty file has no head", "E_EMPTY_FILE", "expected a header", [&] { static_cast<void>(read_head(folder.write("empty", ""), 4, {})); });
    const std::vector<std::string> paths{path, folder.at("nothing")};
    const auto heads = read_heads(paths, 4, {});
    check(std::get<Head>(heads[0]).bytes.size() == 4 && std::string{std::get<ReadError>(heads[1]).code()} == "E_MISSING", "a fault of one is not the other's");
}

void test_room(const Folder& folder) {
    const auto path = folder.write("good", "0123456789");
    std::array<std::byte, 32> memory{};
    Room room{memory, 4, 12};
    const auto head = read_head(path, 4, {}, &room);
    check(head.kept_at == 4 && room.used() == 14 && memory[13] == std::byte{'9'}, "kept behind what is there");
    check(read_head(folder.write("larger", std::string(13, 'x')), 4, {}, &room).kept_at == Room::kNotKept, "too large to be kept");
    check(read_head(folder.write("twelve", std::string(12, 'x')), 4, {}, &room).kept_at == 14, "as large as may be");
    check(read_head(path, 4, {}, &room).kept_at == Room::kNotKept, "no room is left");
    auto file = File::open(path, {});
    Room other{memory, 0, 12};
    check(other.keep(file) == 0, "kept");
    std::array<std::byte, 4> bytes{};
    check(file.read_at(8, bytes) == 2 && file.read_at(99, bytes) == 0, "reads are served from memory, to the end and no further");
    auto empty = File::open(folder.write("empty", ""), {});
    check(other.keep(empty) == Room::kNotKept, "nothing is not kept");
}

void test_changes(const Folder& folder) {
    const auto path = folder.write("changing", "0123456789");
    const auto identity = File::open(path, {}).identity();
    std::array<std::byte, 4> bytes{};
    const auto range = [&] { read_range(path, identity, 6, bytes); };
    expect("as it was", "ok", "", range);
    fs::resize_file(path, 9);
    expect("smaller", "E_SHRUNK", "had 10 bytes", range);
    fs::resize_file(path, 11);
    expect("larger", "E_CHANGED", "size or time", range);
    fs::remove(path);
    folder.write("changing", "0123456789");
    const auto [code, reason] = outcome(range);
    check(code == "E_CHANGED", "replaced: " + code + " " + reason);
    auto file = File::open(path, {});
    auto other = file.identity();
    other.device += 1;
    expect("a file on another disk", "E_CHANGED", "another file stands", [&] { file.expect(other); });
    other = file.identity();
    other.inode += 1;
    expect("another file", "E_CHANGED", "another file stands", [&] { file.expect(other); });
}

}  // namespace

int main() {
    const Folder folder;
    test_errors_of_open(folder);
    test_kinds(folder);
    fs::remove(folder.at("good"));
    test_roots(folder);
    test_reading(folder);
    test_room(folder);
    test_changes(folder);
    return summed_up();
}
