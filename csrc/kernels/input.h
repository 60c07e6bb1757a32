/* Pixels into the features of a first layer. */
#ifndef CASCADE_KERNELS_INPUT_H
#define CASCADE_KERNELS_INPUT_H

#include "kernels/vector.h"

/* Words of four bytes are brought together by lane first, and taken apart as vectors then. */
static void interleave(const uint8_t *crops, size_t count, size_t values, float *out) {
    enum { RUN = 16, BYTES = 4 };
    size_t done = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; done + RUN * BYTES <= values; done += RUN * BYTES) {
        uint32_t words[RUN][CASCADE_LANES];
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            const uint8_t *crop = crops + (lane < count ? lane : count - 1) * values + done;
            for (size_t w = 0; w < RUN; w++) {
                memcpy(&words[w][lane], crop + w * BYTES, BYTES);
            }
        }
        float *to = out + done * CASCADE_LANES;
        for (size_t w = 0; w < RUN; w++) {
            for (size_t byte = 0; byte < BYTES; byte++, to += CASCADE_LANES) {
                for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
                    to[lane] = CASCADE_NORMALISE((int32_t)(words[w][lane] >> (8 * byte) & 255));
                }
            }
        }
    }
#endif
    for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
        const uint8_t *crop = crops + (lane < count ? lane : count - 1) * values;
        for (size_t i = done; i < values; i++) {
            out[i * CASCADE_LANES + lane] = CASCADE_NORMALISE(crop[i]);
        }
    }
}

/* Words of four bytes are taken apart first, which compilers know how to do, and each word into its bytes then. */
static void split(const uint8_t *row, size_t n, float *planes, size_t pitch) {
    enum { RUN = 16, WORDS = CASCADE_SPLIT / 4 };
    size_t x = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; x + RUN <= n; x += RUN) {
        uint32_t words[RUN * WORDS], apart[WORDS][RUN];
        memcpy(words, row + x * CASCADE_SPLIT, sizeof words);
        for (size_t i = 0; i < RUN; i++) {
            for (size_t w = 0; w < WORDS; w++) {
                apart[w][i] = words[i * WORDS + w];
            }
        }
        for (size_t w = 0; w < WORDS; w++) {
            for (size_t byte = 0; byte < 4; byte++) {
                float *plane = planes + (4 * w + byte) * pitch + x;
                for (size_t i = 0; i < RUN; i++) {
                    plane[i] = CASCADE_NORMALISE((int32_t)((apart[w][i] >> (8 * byte)) & 255));
                }
            }
        }
    }
#endif
    for (; x < n; x++) {
        for (size_t p = 0; p < CASCADE_SPLIT; p++) {
            planes[p * pitch + x] = CASCADE_NORMALISE(row[x * CASCADE_SPLIT + p]);
        }
    }
}

/* Pixels are read as words, three colours and a byte of the next pixel; the last of a crop by byte. */
static void interleave_words(const uint8_t *crops, size_t count, size_t pixels, float *out) {
    size_t p = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; p + 1 < pixels; p++, out += CASCADE_LANES) {
        uint32_t words[CASCADE_LANES];
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            const uint8_t *crop = crops + (lane < count ? lane : count - 1) * pixels * CASCADE_CHANNELS;
            memcpy(words + lane, crop + p * CASCADE_CHANNELS, sizeof *words);
        }
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            words[lane] &= 0xffffff;
        }
        memcpy(out, words, sizeof words);
    }
#endif
    for (; p < pixels; p++, out += CASCADE_LANES) {
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            const uint8_t *crop = crops + (lane < count ? lane : count - 1) * pixels * CASCADE_CHANNELS;
            uint32_t word = cascade_pixel_word(crop + p * CASCADE_CHANNELS);
            memcpy(out + lane, &word, sizeof word);
        }
    }
}

/* As split: three words are four pixels. */
static void split_words(const uint8_t *row, size_t n, float *planes, size_t pitch) {
    enum { RUN = 16, WORDS = CASCADE_SPLIT / 4, PIXELS = CASCADE_SPLIT / CASCADE_CHANNELS };
    size_t x = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; x + RUN <= n; x += RUN) {
        uint32_t words[RUN * WORDS], apart[PIXELS][RUN];
        memcpy(words, row + x * CASCADE_SPLIT, sizeof words);
        for (size_t i = 0; i < RUN; i++) {
            uint32_t a = words[i * WORDS], b = words[i * WORDS + 1], c = words[i * WORDS + 2];
            apart[0][i] = a & 0xffffff;
            apart[1][i] = a >> 24 | (b & 0xffff) << 8;
            apart[2][i] = b >> 16 | (c & 0xff) << 16;
            apart[3][i] = c >> 8;
        }
        for (size_t p = 0; p < PIXELS; p++) {
            memcpy(planes + p * pitch + x, apart[p], sizeof apart[p]);
        }
    }
#endif
    for (; x < n; x++) {
        for (size_t p = 0; p < PIXELS; p++) {
            uint32_t word = cascade_pixel_word(row + x * CASCADE_SPLIT + p * CASCADE_CHANNELS);
            memcpy(planes + p * pitch + x, &word, sizeof word);
        }
    }
}

#endif
