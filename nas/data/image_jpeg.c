/* JPEG decoding on libjpeg; damage that the library papers over is an error here. */
#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include <jerror.h>

#include "nas/data/image_codec.h"

enum { SCANS_MAX = 500 }; /* of a progressive file; more is an attack on our time */

typedef struct failure {
    struct jpeg_error_mgr base; /* first: libjpeg hands back a pointer to it */
    jmp_buf leave;
    char text[JMSG_LENGTH_MAX];
} failure;

static void leave(j_common_ptr jpeg)
{
    failure *f = (failure *)jpeg->err;

    jpeg->err->format_message(jpeg, f->text);
    longjmp(f->leave, 1);
}

/* Warnings that do not change a pixel are common in the wild; all others mean damage. */
static void on_message(j_common_ptr jpeg, int level)
{
    static const int harmless[] = {JWRN_EXTRANEOUS_DATA, JWRN_ADOBE_XFORM, JWRN_JFIF_MAJOR};

    if (level >= 0)
        return;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (jpeg->err->msg_code == harmless[i])
            return;
    leave(jpeg);
}

static void on_progress(j_common_ptr jpeg)
{
    failure *f = (failure *)jpeg->err;

    if (((j_decompress_ptr)jpeg)->input_scan_number > SCANS_MAX) {
        snprintf(f->text, sizeof f->text, "more than %d scans", SCANS_MAX);
        longjmp(f->leave, 1);
    }
}

static bool is_cmyk(const struct jpeg_decompress_struct *jpeg)
{
    return jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
}

/* Adobe writes CMYK inverted: 255 is no ink. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, unsigned width, bool inverted)
{
    const unsigned flip = inverted ? 0 : 255;

    for (unsigned x = 0; x < width; x++)
        for (int c = 0; c < 3; c++)
            rgb[3 * x + c] =
                (uint8_t)(((cmyk[4 * x + c] ^ flip) * (cmyk[4 * x + 3] ^ flip) + 127) / 255);
}

static void read_rows(struct jpeg_decompress_struct *jpeg, nas_image *out)
{
    const size_t stride = (size_t)out->width * (size_t)out->channels;
    JSAMPARRAY inks = NULL; /* libjpeg's: freed with it */

    if (is_cmyk(jpeg))
        inks = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, jpeg->output_width * 4, 1);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = out->pixels + jpeg->output_scanline * stride;

        jpeg_read_scanlines(jpeg, inks ? inks : &row, 1);
        if (inks)
            cmyk_to_rgb(inks[0], row, jpeg->output_width, jpeg->saw_Adobe_marker);
    }
}

/* All that may longjmp, apart from the caller's setjmp, so that no local is clobbered. */
static nas_status decode(struct jpeg_decompress_struct *jpeg, nas_image *out, const void *bytes,
                         size_t size, int channels, bool probe, nas_err *err)
{
    nas_status status;

    jpeg_mem_src(jpeg, bytes, size);
    jpeg_read_header(jpeg, TRUE);
    if ((status = nas_data__image_check(jpeg->image_height, jpeg->image_width, err)))
        return status;

    const int own = jpeg->num_components == 1 ? 1 : 3;
    if (probe) {
        *out = (nas_image){(int)jpeg->image_height, (int)jpeg->image_width, own, NULL, 0};
        return NAS_OK;
    }
    if (channels == 1 && own == 3)
        return nas_fail(err, NAS_E_DATA, "a colour image among grey ones");
    if (channels == 0)
        channels = own;
    jpeg->out_color_space = is_cmyk(jpeg) ? JCS_CMYK : channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    if ((status = nas_image_reserve(out, (int)jpeg->image_height, (int)jpeg->image_width, channels,
                                    err)))
        return status;
    jpeg_start_decompress(jpeg);
    read_rows(jpeg, out);
    jpeg_finish_decompress(jpeg);
    return NAS_OK;
}

nas_status nas_data__jpeg_read(nas_image *out, const void *bytes, size_t size, int channels,
                               bool probe, nas_err *err)
{
    struct jpeg_decompress_struct jpeg = {0};
    struct jpeg_progress_mgr progress = {.progress_monitor = on_progress};
    failure f;
    nas_status status;

    jpeg.err = jpeg_std_error(&f.base);
    f.base.error_exit = leave;
    f.base.emit_message = on_message;
    if (setjmp(f.leave)) {
        jpeg_destroy_decompress(&jpeg);
        return nas_fail(err, NAS_E_DATA, "damaged JPEG: %s", f.text);
    }
    jpeg_create_decompress(&jpeg);
    jpeg.progress = &progress;
    status = decode(&jpeg, out, bytes, size, channels, probe, err);
    jpeg_destroy_decompress(&jpeg);
    return status;
}
