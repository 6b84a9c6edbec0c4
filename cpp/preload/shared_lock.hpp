// A lock for many readers and a writer who is let in before readers that come later. std::shared_mutex lets readers pass a waiting
// writer, for ever where there are enough of them.
#pragma once

#include <pthread.h>

namespace fastcmp::preload {

class SharedLock {
public:
    SharedLock() {
        pthread_rwlockattr_t attributes;
        ::pthread_rwlockattr_init(&attributes);
        ::pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
        ::pthread_rwlock_init(&lock_, &attributes);
        ::pthread_rwlockattr_destroy(&attributes);
    }
    ~SharedLock() { ::pthread_rwlock_destroy(&lock_); }
    SharedLock(const SharedLock&) = delete;
    SharedLock& operator=(const SharedLock&) = delete;

    void lock() { ::pthread_rwlock_wrlock(&lock_); }
    void unlock() { ::pthread_rwlock_unlock(&lock_); }
    void lock_shared() { ::pthread_rwlock_rdlock(&lock_); }
    void unlock_shared() { ::pthread_rwlock_unlock(&lock_); }

private:
    pthread_rwlock_t lock_;
};

}  // namespace fastcmp::preload
