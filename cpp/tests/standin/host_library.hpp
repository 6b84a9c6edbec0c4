#pragma once

#include <string>

#include "host_options.hpp"
#include "standin.h"

/// The C interface of the library that this host runs on, linked or loaded.
struct Library {
    decltype(&standin_flavour) flavour;
    decltype(&standin_model_create) model_create;
    decltype(&standin_model_destroy) model_destroy;
    decltype(&standin_model_add_op) model_add_op;
    decltype(&standin_execute_op) execute_op;
    decltype(&standin_offer) offer;
    decltype(&standin_run) run;
    decltype(&standin_bad_input) bad_input;
};

/// Ends the process with status 2 and a message if the library cannot be had. `program` is argv, for the hosts that are linked to the
/// other library: they put the right host in their own place.
Library find_library(const Options& options, char** program);
