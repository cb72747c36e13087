/* Any bytes as an image file: refused, or decoded into exactly the memory it says. */
#include <stdlib.h>
#include <string.h>

#include "nas/data/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_image look, image = {0};
    uint8_t *copy = malloc(size ? size : 1); /* with nothing readable behind it */

    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    /* small ones only: the time of a run would go into filling memory */
    if (nas_image_probe(&look, copy, size, NULL) == NAS_OK && look.height * look.width <= 1 << 20 &&
        nas_image_decode(&image, copy, size, 3, NULL) == NAS_OK &&
        (image.height != look.height || image.width != look.width ||
         image.capacity != (size_t)look.height * (size_t)look.width * 3))
        abort();
    nas_image_fini(&image);
    free(copy);
    return 0;
}
