// The image side of SAM 2's folded decoder: every pass of a few prompts stays in a core's caches, from a product to the
// softmax, layer norm or GELU that takes it up.
//
// A map of R rows and L image tokens lies in panels of 32 tokens, (L / 32, R, 32). Prompts of one call take turns at
// each panel of the image. compiled_passes.py is the other side of these functions.

#include "attention.h"
#include "upscaling.h"

extern "C" {

// What tokens read of the image. values: (L / 32, heads, 32, depth up to whole vectors of 16).
void read_image(int prompts, int heads, int count, int depth, int rows, int panels, const float* tokens,
                const float* mixing, const float* keys, const float* position, const float* values, const float* basis,
                int64_t prompt_stride, int64_t basis_stride, const float* scale, float* read, float* by_row) {
    Sizes sizes{heads, count, depth, rows, panels};
    int64_t total = sizes.total();
    std::vector<Reading> readings;
    for (int n = 0; n < prompts; ++n)
        readings.emplace_back(Scores(sizes, tokens + n * total * depth, mixing + n * total * rows, keys, position,
                                     basis + n * prompt_stride, basis_stride,
                                     scale ? scale + int64_t(n) * panels * PANEL : nullptr));
    for (int start = 0; start < panels; start += PANELS_AT_ONCE)
        for (Reading& reading : readings) reading.go_on(start, std::min(PANELS_AT_ONCE, panels - start), values);
    for (int n = 0; n < prompts; ++n) readings[n].finish(read + n * total * depth, by_row + n * total * rows);
}

// New rows of the basis, after the `rows` there are, and the scale after the layer norm.
void update_image(int prompts, int heads, int count, int depth, int rows, int panels, const float* tokens,
                  const float* mixing, const float* queries, const float* position, const float* values,
                  const float* cross, const float* gram, const float* power, float eps, float* basis,
                  int64_t prompt_stride, int64_t basis_stride, const float* scale, float* new_scale) {
    Sizes sizes{heads, count, depth, rows, panels};
    int64_t total = sizes.total(), all_rows = total + rows, length = int64_t(panels) * PANEL;
    std::vector<Update> updates;
    for (int n = 0; n < prompts; ++n)
        updates.emplace_back(Scores(sizes, tokens + n * total * depth, mixing + n * total * rows, queries, position,
                                    basis + n * prompt_stride, basis_stride, scale ? scale + n * length : nullptr),
                             eps, basis + n * prompt_stride, values + n * all_rows * depth,
                             gram + n * all_rows * all_rows, power + n * length, new_scale + n * length);
    for (int panel = 0; panel < panels; ++panel)
        for (Update& update : updates) update.of(panel, cross);
}

// Mask logits. first: (prompts, 4 channels, rows); second: (4, narrow / 8, channels, 8).
void upscale(int prompts, int rows, int panels, int width, int channels, int narrow, int masks, const float* basis,
             int64_t prompt_stride, int64_t basis_stride, const float* scale, const float* first, const float* base,
             const float* stride_8, const float* stride_4, const float* norm_weight, const float* norm_bias, float eps,
             const float* second, const float* hyper, float* logits) {
    Upscaling upscaling{rows,  width,       panels * PANEL / width, channels, narrow,
                        masks, norm_weight, norm_bias,              eps,      second};
    int64_t wide = 4 * channels;
    floats packed(prompts * wide * rows), features(channels * PANEL), pixels(16 * masks * PANEL);
    pack(first, prompts * wide, rows, packed.data());
    for (int panel = 0; panel < panels; ++panel)
        for (int64_t n = 0; n < prompts; ++n) {
            for (int64_t pixel = 0; pixel < 4; ++pixel) {
                int64_t row = pixel * channels, place = (panel * wide + row) * PANEL;
                upscaling.stride_8(packed.data() + (n * wide + row) * rows,
                                   basis + n * prompt_stride + panel * basis_stride,
                                   scale + (n * panels + panel) * PANEL, base + place, stride_8 + place,
                                   features.data());
                for (int sub = 0; sub < 4; ++sub)
                    upscaling.stride_4(sub, features.data(),
                                       stride_4 + ((panel * 4 + pixel) * 4 + sub) * narrow * PANEL,
                                       hyper + n * masks * narrow, pixels.data() + (pixel * 4 + sub) * masks * PANEL);
            }
            upscaling.place(panel, pixels.data(), logits + n * masks * 16 * panels * PANEL);
        }
}
}  // extern "C"
