#pragma once

// The entry points of libacltransformer that a preload library overrides, with the original's names.

#include <string>

#include "asdops_tensor.hpp"

#ifndef ACLTRANSFORMER_PUBLIC
#define ACLTRANSFORMER_PUBLIC __attribute__((visibility("default")))
#endif

namespace AclTransformer {

class ACLTRANSFORMER_PUBLIC TensorUtil {
public:
    static void SaveTensor(const AsdOps::Tensor& tensor, const std::string& filePath);
};

class ACLTRANSFORMER_PUBLIC StoreUtil {
public:
    static void SaveTensor(const AsdOps::Tensor& tensor, const std::string& filePath);
};

}  // namespace AclTransformer
