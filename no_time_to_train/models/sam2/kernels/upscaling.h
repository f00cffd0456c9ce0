// One prompt's masks from its factored image tokens, as in mask_upscaling.py.
#pragma once

#include "vectors.h"

namespace {

struct Upscaling {
    int rows, width, height, channels, narrow, masks;
    const float *norm_weight, *norm_bias;
    float eps;
    const float* second;

    // (channels, 32) of one of a token's four pixels, after the layer norm and activation.
    void stride_8(const float* first, const float* basis, const float* scale, const float* base, const float* added,
                  float* features) const {
        vec squares[VECTORS] = {};
        for (int row = 0; row < channels; row += TILE) {
            float* tile = features + row * PANEL;
            product(TILE, first + row * rows, TILE, rows, basis, tile, false);
            for (int i = 0; i < TILE; ++i)
                for (int j = 0; j < VECTORS; ++j) {
                    int at = i * PANEL + j * LANES;
                    vec value = (load(tile + at) + load(base + row * PANEL + at)) * load(scale + j * LANES) +
                                load(added + row * PANEL + at);
                    squares[j] += value * value;
                    store(tile + at, value);
                }
        }
        for (int j = 0; j < VECTORS; ++j) squares[j] = inverse_root(squares[j] * (1.0f / channels) + eps);
        for (int row = 0; row < channels; row += 2) {
            vec values[2 * VECTORS];
            for (int i = 0; i < 2; ++i)
                for (int j = 0; j < VECTORS; ++j)
                    values[i * VECTORS + j] = norm_bias[row + i] + norm_weight[row + i] * squares[j] *
                                                                       load(features + (row + i) * PANEL + j * LANES);
            gelu(values);
            for (int i = 0; i < 2 * VECTORS; ++i) store(features + row * PANEL + i * LANES, values[i]);
        }
    }

    // pixels (masks, 32) of one of a pixel's four.
    void stride_4(int sub, const float* features, const float* added, const float* hyper, float* pixels) const {
        std::fill(pixels, pixels + masks * PANEL, 0.0f);
        float tile[TILE * PANEL];
        for (int row = 0; row < narrow; row += TILE) {
            product(TILE, second + (int64_t(sub) * narrow + row) * channels, TILE, channels, features, tile, false);
            for (int j = 0; j < PANEL; j += LANES) {
                vec values[TILE];
#pragma GCC unroll 8
                for (int i = 0; i < TILE; ++i)
                    values[i] = load(tile + i * PANEL + j) + load(added + (row + i) * PANEL + j);
                gelu(values);
                for (int mask = 0; mask < masks; ++mask) {
                    vec total = load(pixels + mask * PANEL + j);
#pragma GCC unroll 8
                    for (int i = 0; i < TILE; ++i) total += values[i] * hyper[mask * narrow + row + i];
                    store(pixels + mask * PANEL + j, total);
                }
            }
        }
    }

    // pixels (4, 4, masks, 32) to their places in (masks, 4 height, 4 width).
    void place(int panel, const float* pixels, float* logits) const {
        for (int mask = 0; mask < masks; ++mask)
            for (int token = 0; token < PANEL; ++token) {
                int y = (panel * PANEL + token) / width, x = (panel * PANEL + token) % width;
                float* corner = logits + ((int64_t(mask) * height + y) * 4 * width + x) * 4;
                for (int pixel = 0; pixel < 16; ++pixel) {
                    int down = pixel / 8 * 2 + pixel / 2 % 2, across = pixel / 4 % 2 * 2 + pixel % 2;
                    corner[down * 4 * width + across] = pixels[(pixel * masks + mask) * PANEL + token];
                }
            }
    }
};

}  // namespace
