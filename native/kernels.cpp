// Compiled once for each instruction set, with VIDSR_KERNELS as the name of its table. Nothing here may call inline
// functions of other headers: the linker keeps one copy of those, which would be in this unit's instructions.
#include "kernels.h"

#include "strip.h"

#define VIDSR_TEXT_OF(name) #name
#define VIDSR_TEXT(name) VIDSR_TEXT_OF(name)

namespace vidsr {
extern const Kernels VIDSR_KERNELS;
const Kernels VIDSR_KERNELS = {VIDSR_TEXT(VIDSR_KERNELS), kLanes, kMaxRows, scratch_floats, run_strip};
}  // namespace vidsr
