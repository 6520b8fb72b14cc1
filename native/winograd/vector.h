// One register of floats, as wide as the instruction set of this translation unit; the only place that knows widths.
#pragma once

#if defined(__AVX512F__)
#define VIDSR_LANES 16
#define VIDSR_REGISTERS 32
#elif defined(__AVX2__)
#define VIDSR_LANES 8
#define VIDSR_REGISTERS 16
#elif defined(__ARM_NEON)
#define VIDSR_LANES 4
#define VIDSR_REGISTERS 32
#else
#define VIDSR_LANES 4
#define VIDSR_REGISTERS 16
#endif

namespace {

constexpr int kLanes = VIDSR_LANES;

// may_alias: the same memory is read as single floats by the multiplication.
typedef float Vec __attribute__((vector_size(4 * VIDSR_LANES), may_alias));

// A value in all lanes. (Not zero plus the value: that addition would stay, as it turns -0 into 0.)
inline Vec splat(float value) { return value - Vec{}; }

// y where it is positive, else y * slope; NaN stays NaN.
inline Vec rectified(Vec y, Vec slope) { return y > 0.0f ? y : y * slope; }

}  // namespace
