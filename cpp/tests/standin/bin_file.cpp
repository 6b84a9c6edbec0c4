#include "bin_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "device.hpp"
#include "tensor_text.hpp"

namespace standin {
namespace {

std::string header(const AsdOps::Tensor& tensor, std::uint64_t length) {
    auto text = "$Version=1.0\n$Object.Count=" + std::string{length > 0 ? "1" : "0"} + "\n$Object.Length=" + std::to_string(length) +
                "\nformat=" + std::to_string(tensor.format) + "\ndtype=" + std::to_string(tensor.dtype) +
                "\ndims=" + join(dims_of(tensor)) + "\n";
    if (length > 0) {
        text += "$Object.data=0," + std::to_string(length) + "\n";
    }
    return text + "$End=1\n";
}

void make_directories(const std::string& path) {
    for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        ::mkdir(path.substr(0, slash).c_str(), 0750);
    }
}

}  // namespace

void write_bin_file(const AsdOps::Tensor& tensor, const std::string& path) {
    const auto length = tensor.data == nullptr ? 0 : tensor.dataSize;
    if (length > kMaxTensorBytes || path.find("..") != std::string::npos) {
        return;
    }
    const auto payload = std::make_unique_for_overwrite<char[]>(static_cast<std::size_t>(length));
    if (length > 0 && AsdRtMemCopy(payload.get(), length, tensor.data, length, kDeviceToHost) != 0) {
        return;
    }
    make_directories(path);
    const auto file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (file == -1) {
        return;
    }
    const auto text = header(tensor, length);
    [[maybe_unused]] auto written = ::write(file, text.data(), text.size());
    written = ::write(file, payload.get(), static_cast<std::size_t>(length));
    ::close(file);
}

}  // namespace standin
