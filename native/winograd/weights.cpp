#include "weights.h"

#include <algorithm>
#include <cstddef>

#include "layer.h"

namespace vidsr {

// G of the paper, for the points of transforms.h. In double: at load time precision is free.
constexpr double kToPoints[kPatch][3] = {
    {1, 0, 0},
    {-2.0 / 9, -2.0 / 9, -2.0 / 9},
    {-2.0 / 9, 2.0 / 9, -2.0 / 9},
    {1.0 / 90, 1.0 / 45, 2.0 / 45},
    {1.0 / 90, -1.0 / 45, 2.0 / 45},
    {32.0 / 45, 16.0 / 45, 8.0 / 45},
    {32.0 / 45, -16.0 / 45, 8.0 / 45},
    {0, 0, 1},
};

void transform_weights(const float* weights, int out_channels, int in_channels, int lanes, float* result) {
    const int num_blocks = out_channels / lanes;
    for (int out = 0; out < out_channels; ++out) {
        const int block = out / lanes, first = block / 2 * 2, in_pair = std::min(2, num_blocks - first);
        float* pair = result + std::size_t(first) * lanes * kPoints * in_channels;
        for (int in = 0; in < in_channels; ++in, weights += 9) {
            double half[kPatch][3] = {};
            for (int a = 0; a < kPatch; ++a)
                for (int x = 0; x < 3; ++x)
                    for (int y = 0; y < 3; ++y) half[a][x] += kToPoints[a][y] * weights[y * 3 + x];
            for (int a = 0; a < kPatch; ++a)
                for (int b = 0; b < kPatch; ++b) {
                    double sum = 0;
                    for (int x = 0; x < 3; ++x) sum += half[a][x] * kToPoints[b][x];
                    const std::size_t row = std::size_t(a * kPatch + b) * in_channels + in;
                    pair[(row * in_pair + (block - first)) * lanes + out % lanes] = float(sum);
                }
        }
    }
}

}  // namespace vidsr
