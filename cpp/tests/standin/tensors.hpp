#pragma once

#include <algorithm>

#include "atb.hpp"
#include "device.hpp"
#include "model.hpp"

namespace [[gnu::visibility("hidden")]] standin {

inline AsdOps::Tensor asdops_tensor(const TensorValue& value) {
    AsdOps::Tensor tensor;
    tensor.dtype = value.dtype;
    tensor.format = value.format;
    std::ranges::copy(value.dims, tensor.dims);
    tensor.dimCount = value.dims.size();
    tensor.data = on_device(value.data);
    tensor.dataSize = value.nbytes;
    return tensor;
}

inline atb::Tensor atb_tensor(const TensorValue& value) {
    atb::Tensor tensor;
    tensor.dtype = value.dtype;
    tensor.format = value.format;
    std::ranges::copy(value.dims, tensor.dims);
    tensor.dimNum = value.dims.size();
    tensor.deviceData = on_device(value.data);
    tensor.dataSize = value.nbytes;
    return tensor;
}

inline Mki::Tensor mki_tensor(const TensorValue& value) {
    return {value.dims, value.dtype, value.format, on_device(value.data), static_cast<std::size_t>(value.nbytes)};
}

}  // namespace standin
