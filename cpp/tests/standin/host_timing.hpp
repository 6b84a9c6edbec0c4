#pragma once

#include "host_library.hpp"
#include "host_options.hpp"

/// Prints, as JSON, what an offer of a tensor costs that nobody selects.
void time_offers(const Library& library, const Options& options);

/// Prints, as JSON, the seconds of saving tensors and of writing the same bytes without ado, in turns.
void time_saving(const Library& library, const Options& options);
