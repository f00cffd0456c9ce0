// Vectors of the compiler's own kind, and products of small matrices with panels of 32 columns: no processor is named.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, ROWS = 8;  // rows of a product that fit the registers, two vectors each
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 4;
#else
constexpr int LANES = 4, ROWS = 8;
#endif
constexpr int PANEL = 32, VECTORS = PANEL / LANES;
constexpr int TILE = 8;  // rows that are packed together

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef std::vector<float> floats;
#define INLINE inline __attribute__((always_inline))

INLINE vec load(const float* from) { return *reinterpret_cast<const vec*>(from); }
INLINE void store(float* to, vec value) { *reinterpret_cast<vec*>(to) = value; }
INLINE vec all(float value) { return value - vec{}; }
INLINE vec smaller(vec a, vec b) { return a < b ? a : b; }
INLINE vec larger(vec a, vec b) { return a > b ? a : b; }
INLINE int whole_vectors(int count) { return (count + 15) / 16 * 16; }  // of any length

INLINE float sum(vec values) {
    float total = 0;
    for (int i = 0; i < LANES; ++i) total += values[i];
    return total;
}

INLINE float largest(vec values) {
    float most = values[0];
    for (int i = 1; i < LANES; ++i) most = std::max(most, values[i]);
    return most;
}

INLINE vec inverse_root(vec values) {
    for (int i = 0; i < LANES; ++i) values[i] = 1.0f / __builtin_sqrtf(values[i]);
    return values;
}

// Several at once: one alone would wait for itself.
template <int COUNT>
INLINE void exponential(vec (&values)[COUNT]) {
    constexpr float TAYLOR[] = {1, 1, 1.0f / 2, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720, 1.0f / 5040};
    vec rest[COUNT], power[COUNT];
    ivec exponent[COUNT];
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; ++i) {
        vec value = larger(values[i], all(-87.0f));
        vec rounded = value * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the whole number is in the lowest bits
        exponent[i] = (ivec)rounded << 23;
        rounded -= 12582912.0f;
        rest[i] = value - rounded * 0.693145752f - rounded * 1.42860677e-6f;
        power[i] = all(TAYLOR[7]);
    }
#pragma GCC unroll 8
    for (int term = 6; term >= 0; --term)
#pragma GCC unroll 8
        for (int i = 0; i < COUNT; ++i) power[i] = power[i] * rest[i] + TAYLOR[term];
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; ++i) values[i] = (vec)((ivec)power[i] + exponent[i]);
}

// erf(v) / v is a polynomial in 2 (v / 3.75)^2 - 1, to 6e-8 for |v| < 3.75; beyond that erf is 1.
template <int COUNT>
INLINE void gelu(vec (&values)[COUNT]) {
    constexpr float FIT[] = {0.377056956f, -0.188029945f, 0.139268279f, -0.111943513f, 0.0907507092f,
                             -0.0715744421f, 0.0535365418f, -0.037466649f, 0.0252557956f, -0.0164452288f,
                             0.00857082568f, -0.00326257618f, 0.00235794159f, -0.00213367911f, 0.000725632533f};
    vec root[COUNT], place[COUNT], ratio[COUNT];
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; ++i) {
        root[i] = larger(smaller(values[i] * 0.70710678f, all(3.75f)), all(-3.75f));
        place[i] = root[i] * root[i] * (2 / (3.75f * 3.75f)) - 1.0f;
        ratio[i] = all(FIT[14]);
    }
#pragma GCC unroll 16
    for (int term = 13; term >= 0; --term)
#pragma GCC unroll 8
        for (int i = 0; i < COUNT; ++i) ratio[i] = ratio[i] * place[i] + FIT[term];
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; ++i) {
        vec half = values[i] * 0.5f;
        values[i] = half + half * larger(smaller(root[i] * ratio[i], all(1.0f)), all(-1.0f));
    }
}

// out (COUNT, width) = or += a^T (COUNT, depth) b (depth, width); rows of out are PANEL apart.
template <int COUNT, int WIDE>
INLINE void product_rows(const float* a, int a_stride, int depth, const float* b, int b_stride, float* out, int width,
                         bool add) {
    for (int lane = 0; lane < width; lane += WIDE * LANES) {
        vec sums[COUNT][WIDE];
#pragma GCC unroll 8
        for (int i = 0; i < COUNT; ++i)
            for (int j = 0; j < WIDE; ++j) sums[i][j] = add ? load(out + i * PANEL + lane + j * LANES) : vec{};
        for (int k = 0; k < depth; ++k) {
            vec right[WIDE];
            for (int j = 0; j < WIDE; ++j) right[j] = load(b + k * b_stride + lane + j * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < COUNT; ++i)
                for (int j = 0; j < WIDE; ++j) sums[i][j] += right[j] * a[k * a_stride + i];
        }
#pragma GCC unroll 8
        for (int i = 0; i < COUNT; ++i)
            for (int j = 0; j < WIDE; ++j) store(out + i * PANEL + lane + j * LANES, sums[i][j]);
    }
}

template <int COUNT>
void product_of(int count, const float* a, int a_stride, int depth, const float* b, int b_stride, float* out, int width,
                bool add) {
    if constexpr (COUNT > 1)
        if (count < COUNT) return product_of<COUNT - 1>(count, a, a_stride, depth, b, b_stride, out, width, add);
    if (width % (2 * LANES)) return product_rows<COUNT, 1>(a, a_stride, depth, b, b_stride, out, width, add);
    product_rows<COUNT, 2>(a, a_stride, depth, b, b_stride, out, width, add);
}

// Any number of rows, of which at most a TILE is packed together.
INLINE void product(int count, const float* a, int a_stride, int depth, const float* b, float* out, bool add,
                    int b_stride = PANEL, int width = PANEL) {
    for (int row = 0; row < count; row += ROWS)
        product_of<ROWS>(std::min(ROWS, count - row), a + row, a_stride, depth, b, b_stride, out + row * PANEL, width,
                         add);
}

// (rows, depth) -> tiles of up to 8 rows, each (depth, rows of the tile).
void pack(const float* from, int rows, int depth, float* to) {
    for (int row = 0; row < rows; row += TILE) {
        int count = std::min(TILE, rows - row);
        for (int k = 0; k < depth; ++k)
            for (int i = 0; i < count; ++i) to[row * depth + k * count + i] = from[(row + i) * depth + k];
    }
}

// Every head's (count, depth) on its own.
floats packed_heads(const float* from, int heads, int count, int depth) {
    floats to(size_t(heads) * count * depth);
    for (size_t start = 0; start < to.size(); start += count * depth)
        pack(from + start, count, depth, to.data() + start);
    return to;
}

// a0 b0 a1 b1 ... of the first or second halves.
template <int HALF, int... PLACES>
INLINE vec interleaved(vec a, vec b, std::integer_sequence<int, PLACES...>) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, (HALF * LANES / 2 + PLACES / 2 + PLACES % 2 * LANES)...);
#else
    return __builtin_shuffle(a, b, ivec{(HALF * LANES / 2 + PLACES / 2 + PLACES % 2 * LANES)...});
#endif
}

// (rows, 32) -> (32, rows up to whole vectors).
void transpose(const float* from, int rows, float* to, int stride) {
    constexpr std::make_integer_sequence<int, LANES> lanes;
    for (int row = 0; row < rows; row += LANES)
        for (int lane = 0; lane < PANEL; lane += LANES) {
            vec now[LANES], next[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; ++i) now[i] = row + i < rows ? load(from + (row + i) * PANEL + lane) : vec{};
#pragma GCC unroll 4
            for (int round = 1; round < LANES; round *= 2) {
#pragma GCC unroll 8
                for (int i = 0; i < LANES / 2; ++i) {
                    next[2 * i] = interleaved<0>(now[i], now[i + LANES / 2], lanes);
                    next[2 * i + 1] = interleaved<1>(now[i], now[i + LANES / 2], lanes);
                }
#pragma GCC unroll 16
                for (int i = 0; i < LANES; ++i) now[i] = next[i];
            }
#pragma GCC unroll 16
            for (int i = 0; i < LANES; ++i) store(to + (lane + i) * stride + row, now[i]);
        }
}

}  // namespace
