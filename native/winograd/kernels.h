// The work on one strip, once for each instruction set; the rest of the engine reaches it through this table only.
#pragma once

#include <cstddef>

#include "layer.h"

namespace vidsr {

struct Kernels {
    const char* name;
    int lanes;      // floats of a register: channels come in multiples of it
    int max_tiles;  // of one strip
    std::size_t (*scratch_floats)(const Layer& layer);  // that a strip needs
    void (*run_strip)(const Layer& layer, int first_tile, int num_tiles, float* scratch);
};

// Of this name, if it was compiled and this processor can run it; else null. An empty name is the best there is.
const Kernels* find_kernels(const char* name);

}  // namespace vidsr
