/* Pixels to the input elements of a first layer. */
#ifndef CASCADE_KERNELS_INPUT_H
#define CASCADE_KERNELS_INPUT_H

#include "vector.h"

/* Bytes that are read at once, as one integer. */
enum { WORD = 4 };

/* Where the crop of a lane starts; lanes from `count` on repeat the last crop. */
ALWAYS_INLINE const uint8_t *crop_of_lane(const uint8_t *crops, size_t count, size_t lane, size_t bytes) {
    return crops + (lane < count ? lane : count - 1) * bytes;
}

/* Four bytes at a time are gathered by lane first, then taken apart as vectors. */
static void interleave_f32(const uint8_t *crops, size_t count, size_t values, float *out) {
    enum { RUN = 16 };
    size_t done = 0;
    for (; done + RUN * WORD <= values; done += RUN * WORD) {
        uint32_t words[RUN][CASCADE_LANES];
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            const uint8_t *crop = crop_of_lane(crops, count, lane, values) + done;
            for (size_t w = 0; w < RUN; w++) {
                memcpy(&words[w][lane], crop + w * WORD, WORD);
            }
        }
        float *to = out + done * CASCADE_LANES;
        for (size_t w = 0; w < RUN; w++) {
            for (size_t byte = 0; byte < WORD; byte++, to += CASCADE_LANES) {
                for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
                    to[lane] = CASCADE_NORMALISE((int32_t)(words[w][lane] >> (8 * byte) & 255));
                }
            }
        }
    }
    for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
        const uint8_t *crop = crop_of_lane(crops, count, lane, values);
        for (size_t i = done; i < values; i++) {
            out[i * CASCADE_LANES + lane] = CASCADE_NORMALISE(crop[i]);
        }
    }
}

/* Words are deinterleaved first, which compilers vectorise, then each word is split into its bytes. */
static void split_f32(const uint8_t *row, size_t n, float *planes, size_t pitch) {
    enum { RUN = 16, WORDS = CASCADE_SPLIT_BYTES / WORD };
    size_t x = 0;
    for (; x + RUN <= n; x += RUN) {
        uint32_t words[RUN * WORDS], apart[WORDS][RUN];
        memcpy(words, row + x * CASCADE_SPLIT_BYTES, sizeof words);
        for (size_t i = 0; i < RUN; i++) {
            for (size_t w = 0; w < WORDS; w++) {
                apart[w][i] = words[i * WORDS + w];
            }
        }
        for (size_t w = 0; w < WORDS; w++) {
            for (size_t byte = 0; byte < WORD; byte++) {
                float *plane = planes + (WORD * w + byte) * pitch + x;
                for (size_t i = 0; i < RUN; i++) {
                    plane[i] = CASCADE_NORMALISE((int32_t)((apart[w][i] >> (8 * byte)) & 255));
                }
            }
        }
    }
    for (; x < n; x++) {
        for (size_t p = 0; p < CASCADE_SPLIT_BYTES; p++) {
            planes[p * pitch + x] = CASCADE_NORMALISE(row[x * CASCADE_SPLIT_BYTES + p]);
        }
    }
}

/* A pixel is read together with a byte of the next one, which is then cleared; the last of a crop has no next one. */
static void interleave_int8(const uint8_t *crops, size_t count, size_t pixels, cascade_int8x4 *out) {
    size_t p = 0, bytes = pixels * CASCADE_CHANNELS;
    for (; p + 1 < pixels; p++, out += CASCADE_LANES) {
        uint32_t words[CASCADE_LANES];
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            memcpy(words + lane, crop_of_lane(crops, count, lane, bytes) + p * CASCADE_CHANNELS, WORD);
        }
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            words[lane] &= 0xffffff;
        }
        memcpy(out, words, sizeof words);
    }
    for (; p < pixels; p++, out += CASCADE_LANES) {
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            out[lane] = cascade_pack_pixel(crop_of_lane(crops, count, lane, bytes) + p * CASCADE_CHANNELS);
        }
    }
}

/* As split_f32: three words are four pixels. */
static void split_int8(const uint8_t *row, size_t n, cascade_int8x4 *planes, size_t pitch) {
    enum { RUN = 16, WORDS = CASCADE_SPLIT_BYTES / WORD };
    size_t x = 0;
    for (; x + RUN <= n; x += RUN) {
        uint32_t words[RUN * WORDS], apart[CASCADE_SPLIT_PIXELS][RUN];
        memcpy(words, row + x * CASCADE_SPLIT_BYTES, sizeof words);
        for (size_t i = 0; i < RUN; i++) {
            uint32_t a = words[i * WORDS], b = words[i * WORDS + 1], c = words[i * WORDS + 2];
            apart[0][i] = a & 0xffffff;
            apart[1][i] = a >> 24 | (b & 0xffff) << 8;
            apart[2][i] = b >> 16 | (c & 0xff) << 16;
            apart[3][i] = c >> 8;
        }
        for (size_t p = 0; p < CASCADE_SPLIT_PIXELS; p++) {
            memcpy(planes + p * pitch + x, apart[p], sizeof apart[p]);
        }
    }
    for (; x < n; x++) {
        for (size_t p = 0; p < CASCADE_SPLIT_PIXELS; p++) {
            planes[p * pitch + x] = cascade_pack_pixel(row + x * CASCADE_SPLIT_BYTES + p * CASCADE_CHANNELS);
        }
    }
}

#endif
