/* Distinct random subnets, by a hash set of all that came before. */
#include "search/ofa/draw.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES = 200, SIZE_BYTES = 2 };

typedef struct drawn {
    size_t width;    /* bytes of a genome: a choice a slot, then the image size */
    int64_t count;
    uint64_t mask;   /* buckets - 1                                             */
    uint8_t *genome; /* [count][width]                                          */
    int64_t *bucket; /* place by hash, -1: empty                                */
} drawn;

static nas_status open_drawn(drawn *d, int slots, int64_t most, nas_err *err)
{
    uint64_t buckets = 16;

    while (buckets < 2 * (uint64_t)most)
        buckets *= 2;
    *d = (drawn){.width = (size_t)slots + SIZE_BYTES, .mask = buckets - 1};
    d->genome = malloc((size_t)most * d->width);
    d->bucket = malloc(buckets * sizeof *d->bucket);
    if (d->genome == NULL || d->bucket == NULL)
        return nas_fail(err, NAS_E_NOMEM, "drawing subnets: out of memory");
    memset(d->bucket, -1, buckets * sizeof *d->bucket);
    return NAS_OK;
}

static void close_drawn(drawn *d)
{
    free(d->genome);
    free(d->bucket);
}

/* False if it is there already.  FNV-1a. */
static bool add(drawn *d, const nas_candidate *c)
{
    uint8_t *genome = d->genome + (size_t)d->count * d->width;
    uint64_t hash = 0xcbf29ce484222325u, at;

    for (size_t s = 0; s < d->width - SIZE_BYTES; s++)
        genome[s] = (uint8_t)c->choice[s];
    genome[d->width - 2] = (uint8_t)(c->image_size >> 8);
    genome[d->width - 1] = (uint8_t)c->image_size;
    for (size_t i = 0; i < d->width; i++)
        hash = (hash ^ genome[i]) * 0x100000001b3u;
    for (at = (hash ^ hash >> 29) & d->mask; d->bucket[at] >= 0; at = (at + 1) & d->mask)
        if (memcmp(d->genome + (size_t)d->bucket[at] * d->width, genome, d->width) == 0)
            return false;
    d->bucket[at] = d->count++;
    return true;
}

nas_status nas_ofa_draw(nas_candidate *out, const nas_space *space, const nas_elastic_mask *mask,
                        uint64_t seed, int64_t first, int64_t count, nas_err *err)
{
    drawn d;
    nas_status status = open_drawn(&d, space->count, first + count + 1, err);

    for (int64_t i = 0; i < first + count && status == NAS_OK; i++) {
        nas_candidate c;
        nas_rng rng;
        int tries = 0;

        nas_rng_init(&rng, seed, "ofa sample", (uint64_t)i);
        do {
            c = (nas_candidate){.image_size = space->image_size};
            if (space->resolutions > 0)
                c.image_size = space->resolution[nas_rng_below(&rng,
                                                               (uint32_t)space->resolutions)];
            nas_elastic_sample(space, mask, &rng, c.choice);
        } while (!add(&d, &c) && ++tries < TRIES);
        if (tries == TRIES) {
            status = nas_fail(err, NAS_E_INFEASIBLE,
                              "space %s has hardly more than %lld subnets that are trained",
                              space->name, (long long)i);
            nas_hint(err, "ask for fewer, or train with more kernels, ratios, depths or sizes");
        } else if (i >= first) {
            out[i - first] = c;
        }
    }
    close_drawn(&d);
    return status;
}
