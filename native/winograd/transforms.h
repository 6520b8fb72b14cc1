// Winograd's minimal filtering F(6x6, 3x3) in one dimension (Lavin and Gray 2015, arXiv:1509.09308), points
// 0, 1, -1, 2, -2, 1/2, -1/2 and infinity.
#pragma once

#include "vector.h"

namespace {

// Eight samples to the eight points: the transposed B of the paper.
inline void to_points(const Vec (&x)[8], Vec (&y)[8]) {
    y[0] = (x[0] - x[6]) + 5.25f * (x[4] - x[2]);
    y[7] = (x[7] - x[1]) + 5.25f * (x[3] - x[5]);
    const Vec even1 = x[2] + x[6] - 4.25f * x[4];
    const Vec odd1 = x[1] + x[5] - 4.25f * x[3];
    y[1] = even1 + odd1;
    y[2] = even1 - odd1;
    const Vec even2 = x[6] + 0.25f * x[2] - 1.25f * x[4];
    const Vec odd2 = x[1] - 5.0f * x[3] + 4.0f * x[5];
    y[3] = even2 + 0.5f * odd2;
    y[4] = even2 - 0.5f * odd2;
    const Vec even3 = x[6] + 4.0f * x[2] - 5.0f * x[4];
    const Vec odd3 = 4.0f * x[1] - 5.0f * x[3] + x[5];
    y[5] = even3 + 0.5f * odd3;
    y[6] = even3 - 0.5f * odd3;
}

// Eight points to the six results: the transposed A of the paper.
inline void from_points(const Vec (&x)[8], Vec (&y)[6]) {
    const Vec sum1 = x[1] + x[2], difference1 = x[1] - x[2];
    const Vec sum2 = x[3] + x[4], difference2 = x[3] - x[4];
    const Vec sum3 = x[5] + x[6], difference3 = x[5] - x[6];
    y[0] = x[0] + sum1 + (sum2 + sum3);
    y[1] = difference1 + 2.0f * difference2 + 0.5f * difference3;
    y[2] = sum1 + 4.0f * sum2 + 0.25f * sum3;
    y[3] = difference1 + 8.0f * difference2 + 0.125f * difference3;
    y[4] = sum1 + 16.0f * sum2 + 0.0625f * sum3;
    y[5] = x[7] + difference1 + 32.0f * difference2 + 0.03125f * difference3;
}

}  // namespace
