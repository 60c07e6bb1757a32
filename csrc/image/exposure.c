/*
 * Automatic exposure: brings dark, pale and colour-cast images to ordinary levels.
 *
 * Every channel is stretched so that its dark and its bright end land where those of an ordinary photo do. Both ends are
 * quantiles of a sparse sample, so the price does not grow with the image.
 */
#include "image.h"

/* Rows and columns that are sampled, and the share of the sample that lies beyond either end. */
#define SAMPLED_SIDE 64
#define BEYOND 0.01
/* Where the ends land. */
#define LOW 8.0
#define HIGH 235.0
/* Largest gain of a channel: beyond it there is more noise than light. */
#define MAX_GAIN 25.0
/* An image is out of the ordinary if the bright end of its brightest channel lies below DARK, if no channel's ends are PALE
 * apart, or if some channel's bright end is less than CAST of the brightest channel's. */
#define DARK 140
#define PALE 120
#define CAST 0.6

typedef struct {
    int low;
    int high;
} ends;

static ends find_ends(const uint32_t counts[256], double total) {
    ends found = {-1, 255};
    double below = 0;
    for (int value = 0; value < 256; value++) {
        below += counts[value];
        if (found.low < 0 && below > BEYOND * total) {
            found.low = value;
        }
        if (below > (1 - BEYOND) * total) {
            found.high = value;
            break;
        }
    }
    return found;
}

static void fill_table(ends channel, uint8_t table[256]) {
    double range = channel.high - channel.low, least = (HIGH - LOW) / MAX_GAIN;
    double gain = (HIGH - LOW) / (range > least ? range : least);
    for (int value = 0; value < 256; value++) {
        double level = (value - channel.low) * gain + LOW + 0.5;
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
    ends found[CASCADE_CHANNELS];
    int brightest = 0, dimmest = 255, range = 0;
    for (size_t channel = 0; channel < CASCADE_CHANNELS; channel++) {
        ends one = found[channel] = find_ends(counts[channel], total);
        brightest = one.high > brightest ? one.high : brightest;
        dimmest = one.high < dimmest ? one.high : dimmest;
        range = one.high - one.low > range ? one.high - one.low : range;
    }
    if (brightest >= DARK && range >= PALE && dimmest >= CAST * brightest) {
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
