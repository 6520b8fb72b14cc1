// Numbers below 1e-38 cost a hundred times what others do and are worth nothing here: taken as zero meanwhile.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace vidsr {

class WithoutDenormals {
#if defined(__SSE2__)
public:
    WithoutDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }  // flush results, and read as zero
    ~WithoutDenormals() { _mm_setcsr(before_); }

private:
    const unsigned before_;
#elif defined(__aarch64__)
public:
    WithoutDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | 1ull << 24));
    }
    ~WithoutDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

private:
    unsigned long long before_;
#else
public:
    WithoutDenormals() {}
#endif
    WithoutDenormals(const WithoutDenormals&) = delete;
    WithoutDenormals& operator=(const WithoutDenormals&) = delete;
};

}  // namespace vidsr
