// What a process has to say of itself, as JSON: the text of its heartbeat file.
#pragma once

#include <string>

namespace fastcmp::preload {

class Process;

// Thorough: every loaded object is looked at, which takes milliseconds where torch is one of them.
std::string status_text(const Process& process, bool is_ended, bool is_thorough);

}  // namespace fastcmp::preload
