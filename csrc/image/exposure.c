/*
 * Automatic exposure: brings dark, pale and colour-cast images to an ordinary tonal range.
 *
 * Every channel is stretched so that its black and its white point land where those of an ordinary photo do. Both points
 * are quantiles of a sparse sample, so finding them takes the same time for an image of any size. The table is computed in
 * double, with the same result with and without fused multiply-adds.
 */
#include "image.h"

/* Every n-th row and column is sampled, with n so that at least this many are, fewer than twice as many; all of fewer. */
#define SAMPLED_SIDE 64
/* The share of the sample that lies beyond either point. */
#define CLIPPED_SHARE 0.01
/* Where the points land. */
#define BLACK 8.0
#define WHITE 235.0
/* Largest gain of a channel: beyond it there is more noise than light. */
#define MAX_GAIN 25.0
/* An image is out of the ordinary if the white point of its brightest channel lies below MIN_WHITE, if no channel's points
 * are MIN_RANGE apart, or if some channel's white point is less than MIN_CHANNEL_RATIO of the brightest channel's. */
#define MIN_WHITE 140
#define MIN_RANGE 120
#define MIN_CHANNEL_RATIO 0.6

typedef struct {
    int black;
    int white;
} tonal_points;

static tonal_points find_points(const uint32_t counts[256], double total) {
    tonal_points found = {-1, 255};
    double below = 0;
    for (int value = 0; value < 256; value++) {
        below += counts[value];
        if (found.black < 0 && below > CLIPPED_SHARE * total) {
            found.black = value;
        }
        if (below > (1 - CLIPPED_SHARE) * total) {
            found.white = value;
            break;
        }
    }
    return found;
}

static void fill_table(tonal_points channel, uint8_t table[256]) {
    double range = channel.white - channel.black, least = (WHITE - BLACK) / MAX_GAIN;
    double gain = (WHITE - BLACK) / (range > least ? range : least);
    for (int value = 0; value < 256; value++) {
        double level = (value - channel.black) * gain + BLACK + 0.5;
        table[value] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
    }
}

int cascade_exposure_table(const uint8_t *pixels, size_t width, size_t height, uint8_t table[CASCADE_CHANNELS][256]) {
    uint32_t counts[CASCADE_CHANNELS][256] = {{0}};
    size_t down = height > SAMPLED_SIDE ? height / SAMPLED_SIDE : 1, right = width > SAMPLED_SIDE ? width / SAMPLED_SIDE : 1;
    double total = 0;
    for (size_t row = down / 2; row < height; row += down) {
        for (size_t column = right / 2; column < width; column += right, total++) {
            const uint8_t *pixel = pixels + (row * width + column) * CASCADE_CHANNELS;
            for (size_t channel = 0; channel < CASCADE_CHANNELS; channel++) {
                counts[channel][pixel[channel]]++;
            }
        }
    }
    tonal_points found[CASCADE_CHANNELS];
    int brightest = 0, dimmest = 255, range = 0;
    for (size_t channel = 0; channel < CASCADE_CHANNELS; channel++) {
        tonal_points one = found[channel] = find_points(counts[channel], total);
        brightest = one.white > brightest ? one.white : brightest;
        dimmest = one.white < dimmest ? one.white : dimmest;
        range = one.white - one.black > range ? one.white - one.black : range;
    }
    if (brightest >= MIN_WHITE && range >= MIN_RANGE && dimmest >= MIN_CHANNEL_RATIO * brightest) {
        return 0;
    }
    for (size_t channel = 0; channel < CASCADE_CHANNELS; channel++) {
        fill_table(found[channel], table[channel]);
    }
    return 1;
}

void cascade_exposure_apply(const uint8_t *pixels, size_t count, const uint8_t table[CASCADE_CHANNELS][256], uint8_t *out) {
    for (size_t i = 0; i < count; i++, pixels += CASCADE_CHANNELS, out += CASCADE_CHANNELS) {
        for (size_t channel = 0; channel < CASCADE_CHANNELS; channel++) {
            out[channel] = table[channel][pixels[channel]];
        }
    }
}
