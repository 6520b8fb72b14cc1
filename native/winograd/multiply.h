// The multiplication at one point: tiles x in channels by in channels x out channels, in registers.
#pragma once

#include <cstddef>

#include "vector.h"

namespace {

// Rows of the register block: with two vectors of results each, what fits beside two weights and a factor.
constexpr int kMaxRows = VIDSR_REGISTERS == 32 ? 14 : 6;

// results[row][vector] = sum over channels of factors[channel][row] * weights[channel][vector]. The factors lie as
// [block][row][lane]. `next_factors` and `next_weights` are what the next call will read: fetched meanwhile.
template <int Rows, int Vectors>
void multiply(const float* factors, const Vec* weights, int num_channels, Vec* results, const float* next_factors,
              const Vec* next_weights) {
    Vec sums[Rows][Vectors];
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sums[row][v] = Vec{};
    const std::ptrdiff_t ahead = next_weights - weights;
    for (int begin = 0; begin < num_channels; begin += kLanes) {
        const int count = num_channels - begin < kLanes ? num_channels - begin : kLanes;
        for (int lane = 0; lane < count; ++lane, weights += Vectors) {
            __builtin_prefetch(next_factors + lane * kLanes);
#pragma GCC unroll 2
            for (int v = 0; v < Vectors; ++v) __builtin_prefetch(weights + ahead + v);
#pragma GCC unroll 16
            for (int row = 0; row < Rows; ++row) {
                const Vec factor = splat(factors[row * kLanes + lane]);
#pragma GCC unroll 2
                for (int v = 0; v < Vectors; ++v) sums[row][v] += factor * weights[v];
            }
        }
        factors += Rows * kLanes;
        next_factors += Rows * kLanes;
    }
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) results[row * Vectors + v] = sums[row][v];
}

// The same for any number of rows up to kMaxRows.
template <int Vectors, int Rows = kMaxRows>
void multiply_rows(int num_rows, const float* factors, const Vec* weights, int num_channels, Vec* results,
                   const float* next_factors, const Vec* next_weights) {
    if (num_rows == Rows)
        return multiply<Rows, Vectors>(factors, weights, num_channels, results, next_factors, next_weights);
    if constexpr (Rows > 1)
        multiply_rows<Vectors, Rows - 1>(num_rows, factors, weights, num_channels, results, next_factors,
                                         next_weights);
}

}  // namespace
