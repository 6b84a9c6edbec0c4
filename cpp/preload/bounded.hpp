// Threads of the library's own, and work that a stalled disk may hold up.
#pragma once

#include <functional>
#include <thread>

namespace fastcmp::preload {

// A thread with all signals blocked: those of the host are its own threads' business. Not joinable where none is to be had.
std::thread start_thread(std::function<void()> work);

// Does `work`, which must not throw, in a thread, and waits for its end but no longer than `seconds`; what it refers to must live for ever.
// Where no thread is to be had, the caller does it.
void do_within(double seconds, const std::function<void()>& work);

}  // namespace fastcmp::preload
