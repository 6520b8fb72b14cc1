// What the kernels need to know of one 3x3 convolution: plain data, the same for every instruction set.
#pragma once

#include <cstddef>

// Kept by no object file: kernels.cpp is compiled for several instruction sets, and the linker would take any copy.
#define VIDSR_INLINE __attribute__((always_inline)) inline

namespace vidsr {

constexpr int kTile = 6;            // side of the square of results that one tile gives
constexpr int kPatch = kTile + 2;   // side of what it reads
constexpr int kPoints = kPatch * kPatch;
constexpr int kMaxResiduals = 2;

// Rows of pixels of `num_channels` floats. Rows before the first and after the last are zero, one column before the
// first too, and the columns after the last up to the end of the tiles. Of a ring only the newest `num_rows` exist.
struct Picture {
    float* data = nullptr;
    const float* zero_row = nullptr;
    std::ptrdiff_t row_stride = 0;  // in floats
    int num_channels = 0;           // a multiple of the lanes
    int num_rows = 0;               // that memory holds
    int height = 0, width = 0;

    VIDSR_INLINE float* row(int y) const { return data + (y % num_rows) * row_stride + num_channels; }
    VIDSR_INLINE const float* row_or_zero(int y) const {
        return y < 0 || y >= height ? zero_row + num_channels : row(y);
    }
};

struct Layer {
    // Reads all channels of the source, then as many of `more` as are missing.
    Picture source, more, target;
    int target_channel = 0;  // where its channels begin
    int in_channels = 0;
    int num_out_blocks = 0;          // of as many channels as there are lanes
    bool doubles = false;            // reads the source as if each pixel were two by two
    const float* weights = nullptr;  // [pair of out blocks][point][in channel][block of the pair][lane]
    const float* bias = nullptr;     // [out channel]
    const float* slopes = nullptr;   // the same; null where nothing is rectified
    int num_residuals = 0;
    Picture residuals[kMaxResiduals];
    float residual_weights[kMaxResiduals] = {};

    VIDSR_INLINE int tiles_across() const { return (target.width + kTile - 1) / kTile; }
};

}  // namespace vidsr
