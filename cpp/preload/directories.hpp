// The directories of the dump: made where they are missing, and gone down name by name, since not every owner is trusted, and no link.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fastcmp::preload {

// Remembers the way to the last directory, so that the way to the next one, often a neighbour, begins where the two part. It keeps inode
// numbers and no descriptors: the host may close those, and open files of its own under their numbers. For one thread.
class Directories {
public:
    // The directory `below` root ("": root itself), made if need be and opened with O_PATH; -1 with errno where it cannot or must not
    // be. Of the first `own_names` directories below the root each may be a link that the user has made; what follows was named by the
    // library, and no link is followed there.
    int open(const std::string& root, std::string_view below, int own_names);

private:
    struct Level {
        std::size_t size;  // of its path, the beginning of path_
        dev_t device;
        ino_t inode;
    };

    void forget_what_differs(const std::string& wanted, std::size_t root_size, int own_names);
    int reopen(const std::string& wanted) const;
    int go_down(int directory);

    std::string path_;
    std::vector<Level> levels_;  // the root first
    uid_t root_owner_ = 0;
    int own_names_ = 0;
};

}  // namespace fastcmp::preload
