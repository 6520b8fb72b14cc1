// Compiled once for each instruction set, with VIDSR_KERNELS as the name of its table. All that is called here is in
// an anonymous namespace or VIDSR_INLINE: of other inline functions the linker keeps one copy, which could be in this
// unit's instructions.
#include "kernels.h"

#include "strip.h"

#define VIDSR_TEXT_OF(name) #name
#define VIDSR_TEXT(name) VIDSR_TEXT_OF(name)

namespace vidsr {
extern const Kernels VIDSR_KERNELS;
const Kernels VIDSR_KERNELS = {VIDSR_TEXT(VIDSR_KERNELS), kLanes, kMaxRows, scratch_floats, run_strip};
}  // namespace vidsr
